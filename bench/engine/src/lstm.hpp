// The gates of an LSTM with one bias vector (Hochreiter & Schmidhuber 1997, with forget gates).
#pragma once

#include "kernels.hpp"
#include "math.hpp"

namespace lanewise::LANEWISE_ISA {

inline void lstm_gates(const LstmStep& step, float* c, float* h) {
    for_vectors(step.hidden, [&](std::size_t i, std::size_t lanes) {
        const auto gate = [&](std::size_t k) __attribute__((always_inline)) {
            const std::size_t at = k * step.hidden + i;
            return (load_n(step.input + at, lanes) + load_n(step.bias + at, lanes)) +
                   load_n(step.recurrent + at, lanes);
        };
        const V kept = fast_sigmoid(gate(1)) * load_n(c + i, lanes);
        const V cell = kept + fast_sigmoid(gate(0)) * fast_tanh(gate(2));
        store_n(c + i, cell, lanes);
        store_n(h + i, fast_sigmoid(gate(3)) * fast_tanh(cell), lanes);
    });
}

} // namespace lanewise::LANEWISE_ISA
