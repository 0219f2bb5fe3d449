// The gate of a GRU that updates its state at some steps only (Skip-RNN, Campos et al. 2018, arXiv 1708.06834): u =
// round(a), d = sigmoid(w . h + b), then a becomes d after an update, a + min(d, 1 - a) after a step that was skipped.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace lanewise {

class SkipGate {
public:
    // weight (hidden) must outlive it.
    SkipGate(const float* weight, float bias, std::size_t hidden)
        : weight_(weight), bias_(static_cast<double>(bias)), hidden_(hidden) {}

    // Whether the next step updates the state; 0.5 does not, as torch's rounding to even.
    bool opens() const { return a_ > 0.5; }

    // To be called after each step, with the state (hidden) as it then is. In double precision and in a fixed order of
    // sums: the decision is then a property of the state, not of an ISA.
    void step(const float* h) {
        ++steps_;
        if (opens()) {
            double sums[4] = {bias_}; // side by side their additions overlap
            for (std::size_t i = 0; i < hidden_; ++i)
                sums[i % 4] += static_cast<double>(weight_[i]) * static_cast<double>(h[i]);
            a_ = d_ = 1.0 / (1.0 + std::exp(-(sums[0] + sums[1] + (sums[2] + sums[3]))));
        } else {
            ++skipped_;
            a_ += std::min(d_, 1.0 - a_);
        }
    }

    // Share of the steps so far that were skipped.
    double skipped() const { return steps_ ? static_cast<double>(skipped_) / static_cast<double>(steps_) : 0.0; }

private:
    const float* weight_;
    double bias_;
    std::size_t hidden_;
    double a_ = 1.0, d_ = 1.0; // d of the state as it is: while that is held, so is d
    std::uint64_t steps_ = 0, skipped_ = 0;
};

} // namespace lanewise
