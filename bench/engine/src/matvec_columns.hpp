// Tiles G x 1 in bf16 and int8: K kept columns share a word, so that weights fill whole lanes.
#pragma once

#include "matvec_block.hpp"

namespace lanewise::LANEWISE_ISA {

// Words that two operations use, in a register: from memory twice, 16 x 1 took 1.1 to 1.3 times as long (Zen 5).
template <int L> LW_INLINE Words<L> load_once(const void* p) {
    auto words = load_words<L>(p);
#ifdef __AVX2__
    asm("" : "+v"(words));
#endif
    return words;
}

// Inputs stay f32: weights are expanded, one broadcast per column.
template <int G, Ahead kAhead> void columns_bf16_at(const MatrixView& m, const float* x, float* y, float*) {
    constexpr int L = min_int(G, kLanes);
    constexpr int NV = G / L;
    constexpr int A = max_int(1, 8 / NV); // sets of accumulators
    const auto* w = static_cast<const unsigned char*>(m.weights);
    const std::uint16_t* index = m.index;
    for_strips<G>(m, [&](std::size_t row, std::size_t rows, std::size_t kept) __attribute__((always_inline)) {
        Vec<L> sum[A][NV] = {};
        std::size_t k = 0;
        for (; k + 8 <= kept; k += 8, w += 16 * G, index += 8) {
#pragma GCC unroll 4
            for (int u = 0; u < 8; u += 2) {
                const Four four(index + u / 4 * 4);
#pragma GCC unroll 8
                for (int v = 0; v < NV; ++v) {
                    const auto words = load_once<L>(w + 2 * u * G + 4 * v * L);
                    look_ahead<kAhead>(w, 2 * u * G + 4 * v * L);
                    sum[u % A][v] += even<L>(words) * broadcast<L>(x[four[u % 4]]);
                    sum[(u + 1) % A][v] += odd<L>(words) * broadcast<L>(x[four[u % 4 + 1]]);
                }
            }
        }
        for (; k + 2 <= kept; k += 2, w += 4 * G, index += 2) {
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) {
                const auto words = load_once<L>(w + 4 * v * L);
                sum[0][v] += even<L>(words) * broadcast<L>(x[index[0]]);
                sum[1 % A][v] += odd<L>(words) * broadcast<L>(x[index[1]]);
            }
        }
        if (k < kept) { // an odd line ends within a word
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v)
                sum[0][v] += even<L>(load_words<L>(w + 4 * v * L)) * broadcast<L>(x[*index]);
            w += 4 * G;
            ++index;
        }
#pragma GCC unroll 8
        for (int u = 1; u < A; ++u) {
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v)
                sum[0][v] += sum[u][v];
        }
        store_strip<DotBf16, G, L>(m, row, rows, sum[0], Input{nullptr, 1.0f}, y);
    });
}

template <int G> void columns_bf16(const MatrixView& m, const float* x, float* y, float* scratch) {
    with_ahead(ahead_of(m), [&](auto a) { columns_bf16_at<G, a.value>(m, x, y, scratch); });
}

// Inputs are gathered, four to a word.
template <int G> void columns_int8(const MatrixView& m, const float* x, float* y, float* scratch) {
    constexpr int L = min_int(G, kLanes);
    constexpr int NV = G / L;
    constexpr int A = max_int(1, min_int(4, 8 / NV));
    const Input input = DotInt8::prepare(x, m.cols, scratch);
    const auto* w = static_cast<const unsigned char*>(m.weights);
    const std::uint16_t* index = m.index;
    for_strips<G>(m, [&](std::size_t row, std::size_t rows, std::size_t kept) __attribute__((always_inline)) {
        Words<L> sum[A][NV] = {};
        // Behind a line's last index stands the next line's or a zero: inputs that meet a weight of zero.
        for (std::size_t k = 0; k < kept; k += 4, w += 4 * G) {
            const Four four(index + k);
            unsigned char gathered[4];
#pragma GCC unroll 4
            for (int u = 0; u < 4; ++u)
                gathered[u] = input.words[four[u]];
            const auto xs = broadcast_word<L>(gathered);
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) {
                auto& into = sum[k / 4 % A][v];
                into = DotInt8::add<L>(into, load_words<L>(w + 4 * v * L), xs);
            }
        }
        index += kept;
#pragma GCC unroll 4
        for (int u = 1; u < A; ++u) {
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v)
                sum[0][v] += sum[u][v];
        }
        store_strip<DotInt8, G, L>(m, row, rows, sum[0], input, y);
    });
}

} // namespace lanewise::LANEWISE_ISA
