#include "vocoder.hpp"

#include "error.hpp"
#include "quantiser.hpp"

#include <algorithm>
#include <cmath>

namespace lanewise {

namespace {

VocoderShape read_shape(const Json& dims) {
    constexpr std::size_t kMost = 16384;
    VocoderShape s{};
    s.bands = dims.whole("bands", 1, kMaxBands);
    s.hidden = dims.whole("hidden", 1, kMost);
    s.embed = dims.whole("embed", 1, 1024);
    s.cond = dims.whole("cond", 1, kMost);
    s.head = dims.whole("head", 1, kMost);
    s.mixtures = dims.whole("mixtures", 1, kMaxMixtures);
    s.mels = dims.whole("mels", 1, 1024);
    s.steps_per_frame = dims.whole("steps_per_frame", 1, 4096);
    s.conv1_taps = dims.whole("conv1_taps", 1, 16);
    s.conv2_taps = dims.whole("conv2_taps", 1, 3);
    s.conv1_left = dims.whole("conv1_left", 0, s.conv1_taps - 1);
    s.conv2_left = dims.whole("conv2_left", 0, s.conv2_taps - 1);
    s.pqmf_taps = dims.whole("pqmf_taps", s.bands, 4096);
    if (s.pqmf_taps % s.bands)
        throw Error("header: pqmf_taps is not a multiple of bands");
    // An empty sparse matrix of any size takes a few bytes of the file, so the file's own size does not bound these.
    constexpr std::uint64_t kMaxUnfoldedBytes = std::uint64_t{1} << 30;
    const std::uint64_t unfolded = s.table_floats() + 3 * s.hidden * s.bands * s.embed;
    if (unfolded * sizeof(float) > kMaxUnfoldedBytes) {
        throw Error("its tables would take " + std::to_string(unfolded * sizeof(float)) + " bytes of memory, at most " +
                    std::to_string(kMaxUnfoldedBytes) + " are allowed");
    }
    return s;
}

constexpr std::size_t kMaxSampleRateHz = 1000000;

} // namespace

void check_dims(const std::string& dims) {
    const Json json = Json::parse(dims);
    read_shape(json);
    json.whole("sample_rate_hz", 1, kMaxSampleRateHz);
}

Vocoder::Vocoder(const std::string& path, const std::string& isa) : isa_(&find_isa(isa)), kernels_(isa_->kernels) {
    load_named(path, [this](const PackedFile& file) { load(file); });
}

void Vocoder::load(const PackedFile& file) {
    if (file.task() != "vocoder")
        throw Error("is an enhancer, expected a vocoder; `lanewise enhance` runs it");
    header_ = file.header_text();
    shape_ = read_shape(file.header().at("dims"));
    const VocoderShape& s = shape_;
    sample_rate_hz_ = file.header().at("dims").whole("sample_rate_hz", 1, kMaxSampleRateHz);

    { // first, since it takes the most memory for a while
        const Matrix w_embed = file.matrix("gru.w_embed", 3 * s.hidden, s.bands * s.embed, 3);
        const Aligned<float> embed = file.vector("embed", s.bands * kLevels * s.embed);
        tables_ = Tables(parse_number(file.header().string("tables")), w_embed.view(), embed.data(), s.bands);
    }
    mel_mean_ = file.vector("mel_mean", s.mels);
    mel_scale_ = file.vector("mel_std", s.mels);
    for (std::size_t i = 0; i < s.mels; ++i) {
        mel_scale_[i] = 1.0f / mel_scale_[i];
        if (!(mel_scale_[i] > 0.0f && std::isfinite(mel_scale_[i])))
            throw Error("'mel_std' must be positive");
    }
    conv1_ = {file, *isa_, "cond.conv1.weight", s.cond, s.conv1_taps * s.mels, 1};
    conv1_bias_ = file.vector("cond.conv1.bias", s.cond);
    conv2_ = {file, *isa_, "cond.conv2.weight", s.cond, s.conv2_taps * s.cond, 1};
    conv2_bias_ = file.vector("cond.conv2.bias", s.cond);
    w_cond_ = {file, *isa_, "gru.w_cond", 3 * s.hidden, s.cond, 3};
    w_hh_ = {file, *isa_, "gru.w_hh", 3 * s.hidden, s.hidden, 3};
    if (file.header().find("delta")) {
        delta_ = static_cast<float>(file.header().number("delta", 0.0, 1.0));
        if (!DeltaProduct::fits(w_hh_.matrix.view()))
            throw Error("gru.w_hh: a delta threshold needs f32, dense or whole columns; pack the model again");
    }
    if (file.has_vector("gru.skip.weight")) {
        skip_weight_ = file.vector("gru.skip.weight", s.hidden);
        skip_bias_ = file.vector("gru.skip.bias", 1)[0];
    }
    fc_ = {file, *isa_, "head.fc.weight", s.head, s.hidden, 1};
    fc_bias_ = file.vector("head.fc.bias", s.head);
    out_ = {file, *isa_, "head.out.weight", s.bands * 3 * s.mixtures, s.head, 1};
    out_bias_ = file.vector("head.out.bias", s.bands * 3 * s.mixtures);
    if (fc_.matrix.view().number == Number::f32 && out_.matrix.view().number == Number::f32)
        exact_head_ = ExactHead(fc_.matrix.view(), fc_bias_.data(), out_.matrix.view(), out_bias_.data());
    filters_ = file.vector("pqmf.synthesis", s.bands * s.pqmf_taps);

    // b_hh of r and z is always added to b_ih; that of n is scaled by r first.
    gate_bias_ = file.vector("gru.b_ih", 3 * s.hidden);
    const Aligned<float> b_hh = file.vector("gru.b_hh", 3 * s.hidden);
    for (std::size_t i = 0; i < 2 * s.hidden; ++i)
        gate_bias_[i] += b_hh[i];
    recurrent_bias_n_ = Aligned<float>(b_hh.data() + 2 * s.hidden, s.hidden);

    gates_kernel_ = tables_.number() == Number::f32    ? kernels_->gru_gates
                    : tables_.number() == Number::bf16 ? kernels_->gru_gates_bf16
                                                       : kernels_->gru_gates_int8;

    const Aligned<float> band_scale = file.vector("band_scale", s.bands);
    centres_ = Aligned<float>(s.bands * kLevels);
    for (std::size_t b = 0; b < s.bands; ++b) {
        for (int level = 0; level < kLevels; ++level) {
            centres_[b * kLevels + static_cast<std::size_t>(level)] =
                static_cast<float>(mu_law_value(level) * static_cast<double>(band_scale[b]));
        }
    }
    edges_ = make_edges();
}

std::vector<float> Vocoder::mel_mean() const {
    return {mel_mean_.data(), mel_mean_.data() + mel_mean_.size()};
}

std::vector<float> Vocoder::mel_std() const {
    std::vector<float> std(mel_scale_.size());
    for (std::size_t i = 0; i < std.size(); ++i)
        std[i] = 1.0f / mel_scale_[i];
    return std;
}

} // namespace lanewise
