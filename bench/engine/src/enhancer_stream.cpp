#include "enhancer_stream.hpp"

#include <algorithm>

namespace lanewise {

namespace {

constexpr float kLogFloor = 1e-4f; // added to magnitudes, as the model does

// The nearest of 2^bits - 1 steps, ties to even.
void round_mask(float* mask, std::size_t size, std::size_t bits) {
    constexpr float kMagic = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer
    const auto top = static_cast<float>((std::size_t{1} << bits) - 1);
    for (std::size_t i = 0; i < size; ++i)
        mask[i] = ((mask[i] * top + kMagic) - kMagic) / top;
}

} // namespace

EnhancerStream::EnhancerStream(const Enhancer& enhancer) : enhancer_(enhancer) {
    const EnhancerShape& s = enhancer.shape();
    heard_ = Aligned<float>(s.n_fft);
    sum_ = Aligned<float>(s.n_fft);
    re_ = Aligned<float>(s.bins());
    im_ = Aligned<float>(s.bins());
    magnitudes_ = Aligned<float>(s.bins());
    gains_ = Aligned<float>(s.bins());
    transform_ = Aligned<float>(enhancer.fft_.scratch_floats());
    features_ = Aligned<float>(s.mels + kInputPadding);
    mask_ = Aligned<float>(s.mels + 1); // gains() reads one more
    std::size_t widest = 0;
    for (std::size_t i = 0; i < s.layers; ++i) {
        states_.push_back({Aligned<float>(s.hidden[i] + kInputPadding), Aligned<float>(s.gru ? 0 : s.hidden[i])});
        widest = std::max(widest, s.hidden[i]);
    }
    fed_ = Aligned<float>(s.gates() * widest);
    recurrent_ = Aligned<float>(s.gates() * widest);
    no_bias_ = Aligned<float>(s.gru ? widest : 0);
    fc_ = Aligned<float>(s.fc + kInputPadding);
    scratch_ = Aligned<float>(std::max({s.mels, widest, s.fc}) + kInputPadding);
}

void EnhancerStream::update(const Enhancer::Layer& layer, std::size_t hidden, const float* x, State& state) {
    layer.input(x, fed_.data(), scratch_.data());
    layer.recurrent(state.h.data(), recurrent_.data(), scratch_.data());
    if (!enhancer_.shape().gru) {
        enhancer_.kernels_->lstm_gates({hidden, fed_.data(), layer.bias.data(), recurrent_.data()}, state.c.data(),
                                       state.h.data());
        return;
    }
    for (std::size_t i = 0; i < 3 * hidden; ++i)
        fed_[i] += layer.bias[i];
    const GruStep step{hidden, fed_.data(), {}, 0, recurrent_.data(), no_bias_.data(), {}};
    enhancer_.kernels_->gru_gates(step, state.h.data());
}

template <typename Clock> void EnhancerStream::step(const float* features, float* mask, Clock& clock) {
    const Enhancer& e = enhancer_;
    const EnhancerShape& s = e.shape();
    const float* x = features;
    for (std::size_t i = 0; i < s.layers; ++i) {
        update(e.layers_[i], s.hidden[i], x, states_[i]);
        x = states_[i].h.data();
    }
    clock.lap(kRecurrent);
    e.fc_(x, fc_.data(), scratch_.data());
    e.kernels_->bias_relu(s.fc, e.fc_bias_.data(), fc_.data());
    e.mask_(fc_.data(), mask, scratch_.data());
    for (std::size_t i = 0; i < s.mels; ++i)
        mask[i] += e.mask_bias_[i];
    e.kernels_->sigmoid(s.mels, mask, mask);
    if (s.mask_bits)
        round_mask(mask, s.mels, s.mask_bits);
    clock.lap(kMask);
}

void EnhancerStream::step(const float* features, float* mask) {
    std::copy_n(features, enhancer_.shape().mels, features_.data());
    NoClock clock;
    step(features_.data(), mask, clock);
}

template <typename Clock> void EnhancerStream::push(const float* in, float* out, Clock& clock) {
    const Enhancer& e = enhancer_;
    const EnhancerShape& s = e.shape();
    const Kernels& kernels = *e.kernels_;
    std::memmove(heard_.data(), heard_.data() + s.hop, s.delay() * sizeof(float));
    std::copy_n(in, s.hop, heard_.data() + s.delay());
    kernels.spectrum(e.fft_.view(), heard_.data(), e.window_.data(), re_.data(), im_.data(), transform_.data());
    kernels.magnitudes(s.bins(), re_.data(), im_.data(), magnitudes_.data());
    float* features = features_.data();
    e.bands_.analyse(magnitudes_.data(), features);
    for (std::size_t i = 0; i < s.mels; ++i)
        features[i] += kLogFloor;
    kernels.log(s.mels, features, features);
    kernels.normalise(s.mels, features, e.feature_mean_.data(), e.feature_scale_.data(), features);
    clock.lap(kAnalysis);

    step(features, mask_.data(), clock);

    e.bands_.gains(mask_.data(), gains_.data());
    for (std::size_t i = 0; i < s.bins(); ++i) {
        re_[i] *= gains_[i];
        im_[i] *= gains_[i];
    }
    kernels.overlap_add(e.fft_.view(), re_.data(), im_.data(), e.window_out_.data(), sum_.data(), transform_.data());
    std::copy_n(sum_.data(), s.hop, out);
    std::memmove(sum_.data(), sum_.data() + s.hop, s.delay() * sizeof(float));
    std::fill_n(sum_.data() + s.delay(), s.hop, 0.0f);
    clock.lap(kResynthesis);
}

template void EnhancerStream::push(const float*, float*, PartClock<kEnhancerParts>&);

void EnhancerStream::push(const float* in, float* out) {
    NoClock clock;
    push(in, out, clock);
}

void enhance(const Enhancer& enhancer, const float* in, std::size_t samples, float* out) {
    const std::size_t hop = enhancer.shape().hop, delay = enhancer.shape().delay();
    EnhancerStream stream(enhancer);
    Aligned<float> some(hop);
    for (std::size_t begin = 0; begin < samples + delay; begin += hop) {
        const std::size_t given = begin < samples ? std::min(hop, samples - begin) : 0;
        std::copy_n(in + (given ? begin : 0), given, some.data());
        std::fill_n(some.data() + given, hop - given, 0.0f);
        stream.push(some.data(), some.data());
        if (begin >= delay) // delay is a whole number of hops
            std::copy_n(some.data(), std::min(hop, samples + delay - begin), out + begin - delay);
    }
}

} // namespace lanewise
