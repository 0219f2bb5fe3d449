// Mel bands of an enhancer (bench/models/enhancer.py): triangles between equally spaced corners of the mel scale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lanewise {

class MelBands {
public:
    MelBands() = default;
    // Throws Error if a band would hold no bin.
    MelBands(std::size_t sample_rate_hz, std::size_t n_fft, std::size_t mels, double low_hz);

    // Weighted means (mels) of magnitudes (bins).
    void analyse(const float* magnitudes, float* bands) const;
    // What a mask of the bands (mels, and one number behind them) multiplies bins by: interpolated between the centres
    // and zero below low_hz.
    void gains(const float* mask, float* gains) const;

private:
    struct Triangle {
        std::size_t first, count; // bins
    };
    std::vector<Triangle> triangles_;
    std::vector<float> weights_; // of the triangles, one after the other
    // Of each bin: the band whose centre lies below it (of none the first), and the weights of that and of the next
    // one.
    std::vector<std::uint32_t> lower_;
    std::vector<float> lower_weights_, upper_weights_;
};

} // namespace lanewise
