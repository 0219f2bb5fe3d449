// A packed speech enhancer (bench/models/enhancer.py) bound to one ISA, read-only once loaded; enhancer_stream.hpp runs
// it. Every layer has the width that the file says, so networks that lost units run as they are.
#pragma once

#include "fft.hpp"
#include "mel_bands.hpp"
#include "product.hpp"

#include <array>
#include <string>
#include <vector>

namespace lanewise {

// Sizes, read from the packed model's `dims`.
struct EnhancerShape {
    static constexpr std::size_t kMaxLayers = 8;

    bool gru; // else LSTM
    std::size_t layers;
    std::array<std::size_t, kMaxLayers> hidden; // of each layer
    std::size_t fc, mels, n_fft, hop;
    std::size_t mask_bits; // the mask is rounded to so many; 0 leaves it
    std::size_t sample_rate_hz;
    double low_hz; // bins below are silenced

    std::size_t gates() const { return gru ? 3 : 4; }
    std::size_t bins() const { return n_fft / 2 + 1; }
    // Samples by which the output of a stream lags behind its input.
    std::size_t delay() const { return n_fft - hop; }
};

// Throws Error if a header's `dims` object (its JSON text) holds anything that Enhancer would refuse.
void check_enhancer_dims(const std::string& dims);

// Parts of a frame that are timed apart.
enum EnhancerPart : int { kAnalysis, kRecurrent, kMask, kResynthesis, kEnhancerParts };

class Enhancer {
public:
    // Loads, verifies and binds kernels; throws Error naming the file.
    Enhancer(const std::string& path, const std::string& isa);

    const EnhancerShape& shape() const { return shape_; }
    const std::string& header() const { return header_; }
    const char* isa() const { return isa_->name; }

private:
    friend class EnhancerStream;

    struct Layer {
        Product input, recurrent;
        Aligned<float> bias; // (gates * hidden)
    };

    void load(const PackedFile& file);

    const Isa* isa_;
    const Kernels* kernels_;
    EnhancerShape shape_{};
    std::string header_;
    std::vector<Layer> layers_;
    Product fc_, mask_;
    Aligned<float> fc_bias_, mask_bias_, feature_mean_, feature_scale_;
    Fft fft_;
    MelBands bands_;
    Aligned<float> window_;     // square root of a Hann window
    Aligned<float> window_out_; // the same over the gain of the overlapping windows and of the inverse transform
};

} // namespace lanewise
