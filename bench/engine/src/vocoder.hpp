// The whole vocoder, from mel frames to waveform: a packed subband WaveRNN bound to one ISA.
#pragma once

#include "exact.hpp"
#include "isa.hpp"
#include "lwm.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace lanewise {

// Sizes, read from the packed model's `dims`.
struct VocoderShape {
    std::size_t bands, hidden, embed, cond, head, mixtures, mels, steps_per_frame;
    std::size_t conv1_taps, conv2_taps, conv1_left, conv2_left; // frames; *_left are those before the current one
    std::size_t pqmf_taps;                                      // samples

    std::size_t samples_per_frame() const { return steps_per_frame * bands; }
    std::size_t table_floats() const { return bands * kLevels * 3 * hidden; }
};

// What to run and where the result goes; null outputs are skipped.
struct Utterance {
    const float* mel; // (frames, mels)
    std::size_t frames;
    std::uint64_t seed, number; // key and counter of the random numbers
    double temperature;
    const std::uint8_t* forced; // (frames * steps, bands) levels fed back instead of the sampled ones, or null
    float* audio;               // (frames * samples_per_frame)
    std::uint8_t* levels;       // (frames * steps, bands)
};

enum Part { kConditioning, kGru, kHeads, kSampling, kSynthesis, kParts };

class Vocoder {
public:
    // Loads, verifies and binds kernels; throws Error naming the file.
    Vocoder(const std::string& path, const std::string& isa);

    const VocoderShape& shape() const { return shape_; }
    const std::string& header() const { return header_; }
    const char* isa() const { return isa_->name; }
    // Normalisation of the features, (mels) each.
    std::vector<float> mel_mean() const;
    std::vector<float> mel_std() const;

    // Thread-safe: all state of a run is its own.
    void run(const Utterance& utterance) const;
    // The same, slowed a little by reading the clock after each part: nanoseconds per part, which add up to the whole.
    std::array<double, kParts> run_timed(const Utterance& utterance) const;

private:
    struct Product { // a matrix and its kernel
        Matrix matrix;
        MatVecFn kernel = nullptr;
        void operator()(const float* x, float* y, float* scratch) const { kernel(matrix.view(), x, y, scratch); }
    };
    struct State;

    void load(const PackedFile& file);
    Product product(const PackedFile& file, const std::string& name, std::size_t rows, std::size_t cols,
                    std::size_t gates) const;
    void fold_embeddings(const PackedFile& file);
    template <typename Clock> void run_with(Clock& clock, const Utterance& utterance) const;
    void condition(State& state, const Utterance& utterance, std::size_t first, std::size_t count) const;
    void emit(State& state, float* audio) const;

    const Isa* isa_;
    const Kernels* kernels_;
    VocoderShape shape_{};
    std::string header_;
    Product conv1_, conv2_, w_cond_, w_hh_, fc_, out_;
    Aligned<float> mel_mean_, mel_scale_, conv1_bias_, conv2_bias_, gate_bias_, recurrent_bias_n_, fc_bias_, out_bias_;
    Aligned<float> tables_;  // (bands, levels, 3 * hidden)
    Aligned<float> centres_; // (bands, levels): band sample of each level
    Aligned<float> filters_; // (bands, pqmf_taps)
    ExactHead exact_head_;
    Edges edges_{};
};

} // namespace lanewise
