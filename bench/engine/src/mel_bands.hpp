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
    // Multiplies bins by a mask of the bands (mels), interpolated between their centres and zero below low_hz.
    void apply(const float* mask, float* re, float* im) const;

private:
    struct Triangle {
        std::size_t first, count; // bins
    };
    struct Between {
        std::uint32_t lower, upper; // bands
        float lower_weight, upper_weight;
    };
    std::vector<Triangle> triangles_;
    std::vector<float> weights_; // of the triangles, one after the other
    std::vector<Between> bins_;
};

} // namespace lanewise
