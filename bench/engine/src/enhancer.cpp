#include "enhancer.hpp"

#include "error.hpp"

#include <cmath>
#include <numbers>

namespace lanewise {

namespace {

EnhancerShape read_shape(const Json& dims) {
    constexpr std::size_t kMost = 16384;
    EnhancerShape s{};
    const std::string& cell = dims.string("cell");
    if (cell != "lstm" && cell != "gru")
        throw Error("header: cell must be 'lstm' or 'gru'");
    s.gru = cell == "gru";
    s.layers = dims.whole("layers", 1, EnhancerShape::kMaxLayers);
    for (std::size_t layer = 0; layer < s.layers; ++layer)
        s.hidden[layer] = dims.whole("hidden" + std::to_string(layer), 1, kMost);
    s.fc = dims.whole("fc", 1, kMost);
    s.mels = dims.whole("mels", 1, 1024);
    s.n_fft = dims.whole("n_fft", Fft::kLeast, Fft::kMost);
    s.hop = dims.whole("hop", 1, s.n_fft / 2);
    if (s.n_fft % s.hop)
        throw Error("header: n_fft is not a multiple of hop");
    s.mask_bits = dims.whole("mask_bits", 0, 16);
    s.sample_rate_hz = dims.whole("sample_rate_hz", 1, 1000000);
    s.low_hz = dims.number("low_hz", 0.0, static_cast<double>(s.sample_rate_hz) / 2.0);
    return s;
}

MelBands bands_of(const EnhancerShape& s) {
    return {s.sample_rate_hz, s.n_fft, s.mels, s.low_hz};
}

} // namespace

void check_enhancer_dims(const std::string& dims) {
    const EnhancerShape s = read_shape(Json::parse(dims));
    const Fft fft(s.n_fft);
    bands_of(s);
}

Enhancer::Enhancer(const std::string& path, const std::string& isa) : isa_(&find_isa(isa)), kernels_(isa_->kernels) {
    load_named(path, [this](const PackedFile& file) { load(file); });
}

void Enhancer::load(const PackedFile& file) {
    if (file.task() != "enhancer")
        throw Error("is a vocoder, expected an enhancer; `lanewise synth` runs it");
    header_ = file.header_text();
    shape_ = read_shape(file.header().at("dims"));
    const EnhancerShape& s = shape_;
    fft_ = Fft(s.n_fft);
    bands_ = bands_of(s);

    std::size_t width = s.mels;
    for (std::size_t i = 0; i < s.layers; ++i) {
        const std::string name = "rnn." + std::to_string(i) + ".";
        const std::size_t rows = s.gates() * s.hidden[i];
        layers_.push_back({{file, *isa_, name + "w_ih", rows, width, s.gates()},
                           {file, *isa_, name + "w_hh", rows, s.hidden[i], s.gates()},
                           file.vector(name + "bias", rows)});
        width = s.hidden[i];
    }
    fc_ = {file, *isa_, "fc.weight", s.fc, width, 1};
    fc_bias_ = file.vector("fc.bias", s.fc);
    mask_ = {file, *isa_, "mask.weight", s.mels, s.fc, 1};
    mask_bias_ = file.vector("mask.bias", s.mels);
    feature_mean_ = file.vector("feature_mean", s.mels);
    feature_scale_ = file.vector("feature_std", s.mels);
    for (std::size_t i = 0; i < s.mels; ++i) {
        feature_scale_[i] = 1.0f / feature_scale_[i];
        if (!(feature_scale_[i] > 0.0f && std::isfinite(feature_scale_[i])))
            throw Error("'feature_std' must be positive");
    }

    window_ = Aligned<float>(s.n_fft);
    window_out_ = Aligned<float>(s.n_fft);
    const double n = static_cast<double>(s.n_fft), hop = static_cast<double>(s.hop);
    for (std::size_t i = 0; i < s.n_fft; ++i) {
        const double root = std::sin(std::numbers::pi * static_cast<double>(i) / n); // Hann: its square
        window_[i] = static_cast<float>(root);
        window_out_[i] = static_cast<float>(root * (2.0 / n) / (n / (2.0 * hop)));
    }
}

} // namespace lanewise
