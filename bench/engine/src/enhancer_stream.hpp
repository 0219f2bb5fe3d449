// A running enhancer: a hop of samples goes in, a hop comes out. All memory is taken by the constructor.
#pragma once

#include "clock.hpp"
#include "enhancer.hpp"

namespace lanewise {

// Used by one thread at a time; the enhancer must outlive it.
class EnhancerStream {
public:
    explicit EnhancerStream(const Enhancer& enhancer);

    // Takes hop samples; writes the hop samples that are now complete, which came EnhancerShape::delay() samples
    // earlier (before the first: silence). in and out may be the same.
    void push(const float* in, float* out);
    // The same; Clock: NoClock or PartClock<kEnhancerParts>.
    template <typename Clock> void push(const float* in, float* out, Clock& clock);
    // The network alone: the mask of the next frame (mels) from its normalised features (mels). A stream is given
    // either frames or hops.
    void step(const float* features, float* mask);

private:
    struct State {
        Aligned<float> h, c; // h has room for a product to read behind it; c of LSTMs
    };

    template <typename Clock> void step(const float* features, float* mask, Clock& clock);
    void update(const Enhancer::Layer& layer, std::size_t hidden, const float* x, State& state);

    const Enhancer& enhancer_;
    Aligned<float> heard_, sum_; // the latest n_fft samples; those that windows to come will add to
    Aligned<float> re_, im_, magnitudes_, gains_, transform_;
    Aligned<float> features_, mask_;
    std::vector<State> states_;
    Aligned<float> fed_, recurrent_, no_bias_; // (gates * hidden) of the widest layer
    Aligned<float> fc_, scratch_;
};

// Enhances a clip as a stream of it would, silence behind its end: out (samples) is aligned with in.
void enhance(const Enhancer& enhancer, const float* in, std::size_t samples, float* out);

} // namespace lanewise
