// A packed subband WaveRNN bound to one ISA, read-only once loaded; stream.hpp runs it.
#pragma once

#include "delta.hpp"
#include "exact.hpp"
#include "product.hpp"
#include "tables.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lanewise {

// Sizes, read from the packed model's `dims`.
struct VocoderShape {
    std::size_t bands, hidden, embed, cond, head, mixtures, mels, steps_per_frame;
    std::size_t conv1_taps, conv2_taps, conv1_left, conv2_left; // frames; *_left are those before the current one
    std::size_t pqmf_taps;                                      // samples

    // Frames after a frame that its conditioning sees.
    std::size_t lookahead() const { return conv1_right() + conv2_right(); }
    std::size_t conv1_right() const { return conv1_taps - 1 - conv1_left; }
    std::size_t conv2_right() const { return conv2_taps - 1 - conv2_left; }
    std::size_t samples_per_frame() const { return steps_per_frame * bands; }
    std::size_t table_floats() const { return bands * kLevels * 3 * hidden; }
};

// Throws Error unless a model of these `dims` (a JSON object) can be loaded.
void check_dims(const std::string& dims);

enum Part { kConditioning, kGru, kHeads, kSampling, kSynthesis, kParts };

class Vocoder {
public:
    // Loads, verifies and binds kernels; throws Error naming the file.
    Vocoder(const std::string& path, const std::string& isa);

    const VocoderShape& shape() const { return shape_; }
    const std::string& header() const { return header_; }
    std::size_t sample_rate_hz() const { return sample_rate_hz_; }
    std::size_t table_bytes() const { return tables_.bytes(); }
    const char* isa() const { return isa_->name; }
    // Normalisation of the features, (mels) each.
    std::vector<float> mel_mean() const;
    std::vector<float> mel_std() const;

private:
    friend class Stream;

    void load(const PackedFile& file);

    const Isa* isa_;
    const Kernels* kernels_;
    VocoderShape shape_{};
    std::size_t sample_rate_hz_ = 0;
    std::string header_;
    Product conv1_, conv2_, w_cond_, w_hh_, fc_, out_;
    Aligned<float> mel_mean_, mel_scale_, conv1_bias_, conv2_bias_, gate_bias_, recurrent_bias_n_, fc_bias_, out_bias_;
    std::optional<float> delta_; // threshold of w_hh's product
    Aligned<float> skip_weight_; // of skip gates, see skip.hpp; empty without them
    float skip_bias_ = 0.0f;
    Tables tables_;
    void (*gates_kernel_)(const GruStep& step, float* h) = nullptr; // of the tables' number format
    Aligned<float> centres_;                                        // (bands, levels): band sample of each level
    Aligned<float> filters_;                                        // (bands, pqmf_taps)
    std::optional<ExactHead> exact_head_; // of f32 heads; others are not exact in the first place
    Edges edges_{};
};

} // namespace lanewise
