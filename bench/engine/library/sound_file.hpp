// What lanewise-synth reads and writes: recordings (wav), mel frames (npy or raw f32), speech (wav).
#pragma once

#include "mapped_file.hpp"

#include <cstdint>
#include <cstdio>
#include <string>

namespace lanewise {

// A mono wav file of 16-bit or f32 samples, read where it lies.
class WavReader {
public:
    // Throws Error naming the file and the remedy if it is no such wav, is of another rate, is cut short, is empty or
    // holds NaN or infinite numbers.
    WavReader(const std::string& path, std::size_t sample_rate_hz);

    std::size_t size() const { return size_; }
    // Full scale is 1.
    float operator[](std::size_t i) const;

private:
    MappedFile file_;
    const unsigned char* samples_ = nullptr;
    std::size_t size_ = 0;
    bool floats_ = false;
};

// Mel frames (frames, mels), little-endian f32: a .npy array, or the numbers alone (.f32, .mel).
class MelReader {
public:
    MelReader(const std::string& path, std::size_t mels);

    std::size_t frames() const { return frames_; }
    // One frame, copied: the file need not be aligned.
    void read(std::size_t frame, float* mel) const;

private:
    MappedFile file_;
    const unsigned char* values_ = nullptr;
    std::size_t mels_, frames_ = 0;
};

// Writes 16-bit mono beside `path` and moves it there at the end, so that no half-written file is left under its name.
class WavWriter {
public:
    WavWriter(const std::string& path, std::size_t sample_rate_hz, std::size_t samples);
    WavWriter(const WavWriter&) = delete;
    WavWriter& operator=(const WavWriter&) = delete;
    ~WavWriter();

    // Samples beyond full scale are clipped; throws Error if one is NaN or infinite.
    void write(const float* audio, std::size_t samples);
    // Back to the first sample.
    void rewind();
    void close();

private:
    void check(bool good) const;

    std::string path_, partial_;
    std::FILE* file_;
    bool moved_ = false;
};

} // namespace lanewise
