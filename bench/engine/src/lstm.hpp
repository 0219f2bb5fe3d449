// The gates of an LSTM with one bias vector (Hochreiter & Schmidhuber 1997, with forget gates).
#pragma once

#include "kernels.hpp"
#include "math.hpp"

namespace lanewise::LANEWISE_ISA {

// sigmoid(x) * tanh(y) with one division, which costs more than the rest; no sum of exponentials overflows.
LW_INLINE V gated_tanh(V x, V y) {
    const V e = exp_of_negative(splat(-2.0f) * magnitude(y));
    return with_sign((splat(1.0f) - e) / ((splat(1.0f) + fast_exp(-x)) * (splat(1.0f) + e)), y);
}

inline void lstm_gates(const LstmStep& step, float* c, float* h) {
    for_vectors(step.hidden, [&](std::size_t i, std::size_t lanes) __attribute__((always_inline)) {
        const auto gate = [&](std::size_t k) __attribute__((always_inline)) {
            const std::size_t at = k * step.hidden + i;
            return (load_n(step.input + at, lanes) + load_n(step.bias + at, lanes)) +
                   load_n(step.recurrent + at, lanes);
        };
        const V cell = fast_sigmoid(gate(1)) * load_n(c + i, lanes) + gated_tanh(gate(0), gate(2));
        store_n(c + i, cell, lanes);
        store_n(h + i, gated_tanh(gate(3), cell), lanes);
    });
}

} // namespace lanewise::LANEWISE_ISA
