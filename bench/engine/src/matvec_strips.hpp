// Tiles G x 1 in f32: strips of G rows, no horizontal sums.
#pragma once

#include "matvec.hpp"

namespace lanewise::LANEWISE_ISA {

#if LANEWISE_LANES >= 8
// x[first] in the lower four lanes, x[second] in the upper.
LW_INLINE Vec<8> two_inputs(const float* x, std::size_t first, std::size_t second) {
#if LANEWISE_LANES == 16
    return (Vec<8>)_mm256_mask_broadcastss_ps(_mm256_set1_ps(x[first]), 0xf0, _mm_load_ss(x + second));
#else
    return (Vec<8>)_mm256_blend_ps(_mm256_set1_ps(x[first]), _mm256_set1_ps(x[second]), 0xf0);
#endif
}

// A line of 4 x 1 tiles, two side by side in a vector so that one weight load serves both: 3.3 instead of 4 cycles per
// 64 bytes of weights (Zen 5). A line that starts within a vector takes its first tile alone, or every second load
// would cross a cache line (Zen 4: 4 to 9 % slower). Not worth it for 1 x G (slower: more to fold).
LW_INLINE Vec<4> sum_pairs(std::size_t kept, const float*& w, const std::uint16_t*& index, const float* x) {
    Vec<4> alone{};
    const auto take_one = [&]() __attribute__((always_inline)) {
        alone += load<4>(w) * broadcast<4>(x[*index]);
        w += 4;
        ++index;
        --kept;
    };
    if (kept > 0 && reinterpret_cast<std::uintptr_t>(w) % 32 != 0)
        take_one();
    Vec<8> acc[4] = {};
    for (; kept >= 8; kept -= 8, w += 32, index += 8) {
        const Four a(index), b(index + 4);
        acc[0] += load<8>(w) * two_inputs(x, a[0], a[1]);
        acc[1] += load<8>(w + 8) * two_inputs(x, a[2], a[3]);
        acc[2] += load<8>(w + 16) * two_inputs(x, b[0], b[1]);
        acc[3] += load<8>(w + 24) * two_inputs(x, b[2], b[3]);
    }
#pragma GCC unroll 1
    for (; kept >= 2; kept -= 2, w += 8, index += 2)
        acc[0] += load<8>(w) * two_inputs(x, index[0], index[1]);
    if (kept > 0)
        take_one();
    return fold<8, 4>((acc[0] + acc[1]) + (acc[2] + acc[3])) + alone;
}

// A line of 8 x 1 tiles: what is left behind rounds of eight goes to several sums (Zen 4: 1 to 3 % faster than one).
LW_INLINE Vec<8> sum_eights(std::size_t kept, const float*& w, const std::uint16_t*& index, const float* x) {
    Vec<8> acc[4] = {};
    const auto add = [&](int i, std::size_t column)
                         __attribute__((always_inline)) { acc[i] += load<8>(w + 8 * i) * broadcast<8>(x[column]); };
    const auto add_four = [&]() __attribute__((always_inline)) {
        const Four four(index);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i)
            add(i, four[i]);
        w += 32;
        index += 4;
    };
    for (; kept >= 8; kept -= 8) {
        add_four();
        add_four();
    }
    if (kept & 4)
        add_four();
    if (kept & 2) {
        add(0, index[0]);
        add(1, index[1]);
        w += 16;
        index += 2;
    }
    if (kept & 1) {
        acc[2] += load<8>(w) * broadcast<8>(x[*index]);
        w += 8;
        ++index;
    }
    return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}
#endif

#if LANEWISE_LANES == 16
// Tiles 8 x 1 and 4 x 1 in 512 bits: two or four side by side in a vector, so that one weight load serves all. A load
// across a cache line counts twice, so vectors stay aligned; the one where a strip ends and the next begins is
// multiplied once and its lanes are shared out (loaded per strip it cost what it gained).
//
// 8 x 1 takes 0.90 to 0.95, 4 x 1 0.87 to 0.90 of the time of 256-bit code (512 columns, 70 and 80 %). What is left is
// load ports: Zen 5 takes two vector loads a cycle, and 512-bit ones crowd out the integer loads of indices beside
// them. Measured and no better: inputs through integer registers and vpbroadcastd (8 x 1 slower, 4 x 1 equal), indices
// by four 16-bit loads (slower) or fetched an iteration ahead (equal), bextr (4 x 1 3 %), inputs paired or gathered
// into a buffer and permuted from there (slower), gather instructions (twice the time). A core that halves 512-bit
// operations takes 256-bit code: 4 x 1 is then 1.12 to 1.18 times as fast, 8 x 1 equal to 1.04 times (Zen 4).
template <int G> LW_INLINE __m512 side_by_side(const float* x, Four index, int first) {
    __m512 inputs = _mm512_set1_ps(x[index[first]]);
#pragma GCC unroll 4
    for (int t = 1; t < 16 / G; ++t) {
        const auto from = static_cast<__mmask16>(0xffffu << (t * G));
        inputs = _mm512_mask_broadcastss_ps(inputs, from, _mm_load_ss(x + index[first + t]));
    }
    return inputs;
}

template <int G> void row_group_512(const MatrixView& m, const float* x, float* y) {
    constexpr int T = 16 / G; // tiles of a vector
    const std::size_t gate_rows = m.rows / m.gates;
    const float* w = m.floats();
    const std::uint16_t* index = m.index;
    const std::uint32_t* counts = m.counts;
    std::size_t taken = 0; // tiles of the vector at w that belong to strips before
    __m512 shared{};       // its products
    for (std::uint32_t gate = 0; gate < m.gates; ++gate) {
        for (std::size_t left = gate_rows; left > 0;) {
            const std::size_t end = taken + *counts++; // of the strip, in tiles from w
            std::size_t whole = end / T;
            const std::size_t rest = end % T;
            const auto before_end = static_cast<__mmask16>((1u << (rest * G)) - 1);
            __m512 acc[4] = {};
            if (taken != 0) {
                acc[0] = _mm512_maskz_mov_ps(static_cast<__mmask16>(0xffffu << (taken * G)), shared);
                if (whole == 0) {
                    acc[0] = _mm512_maskz_mov_ps(before_end, acc[0]);
                } else {
                    --whole;
                    w += 16;
                    index += T;
                }
            }
            for (; whole >= 4; whole -= 4, w += 4 * 16, index += 4 * T) {
#pragma GCC unroll 4
                for (int v = 0; v < 4; v += 4 / T) {
                    const Four four(index + v * T);
#pragma GCC unroll 2
                    for (int i = 0; i < 4 / T; ++i) {
                        const __m512 weights = _mm512_load_ps(w + (v + i) * 16);
                        acc[v + i] = _mm512_fmadd_ps(weights, side_by_side<G>(x, four, i * T), acc[v + i]);
                    }
                }
            }
            // Not unrolled: GCC 12 then runs out of registers for all of the strip.
#pragma GCC unroll 1
            for (; whole > 0; --whole, w += 16, index += T)
                acc[3] = _mm512_fmadd_ps(_mm512_load_ps(w), side_by_side<G>(x, Four(index), 0), acc[3]);
            if (rest != 0 && (taken == 0 || end >= T)) {
                shared = _mm512_mul_ps(_mm512_load_ps(w), side_by_side<G>(x, Four(index), 0));
                acc[2] = _mm512_mask_add_ps(acc[2], before_end, acc[2], shared);
            }
            taken = rest;
            const __m512 all = _mm512_add_ps(_mm512_add_ps(acc[0], acc[1]), _mm512_add_ps(acc[2], acc[3]));
            // The masked form: the plain one makes GCC 12 warn of its own header.
            const __m256 low = _mm512_maskz_extractf32x8_ps(0xff, all, 0);
            const auto half = (Vec<8>)_mm256_add_ps(low, _mm512_maskz_extractf32x8_ps(0xff, all, 1));
            const std::size_t rows = left < G ? left : G;
            store_n<G>(y, fold<8, G>(half), rows);
            y += rows;
            left -= rows;
        }
    }
}
#endif

// Strip by strip, in the vectors that lanes_at gives; tiles of 4 and 8 rows in 256 bits where there are any.
template <int G, Ahead kAhead> void row_group_lines(const MatrixView& m, const float* x, float* y) {
    constexpr int L = min_int(G, lanes_at<kAhead>);
    constexpr int NV = G / L;
    const std::size_t gate_rows = m.rows / m.gates;
    const float* w = m.floats();
    const std::uint16_t* index = m.index;
    const std::uint32_t* counts = m.counts;
    for (std::uint32_t gate = 0; gate < m.gates; ++gate, y += gate_rows) {
        for (std::size_t row = 0; row < gate_rows; row += G) {
            Vec<L> total[NV];
#if LANEWISE_LANES >= 8
            if constexpr (G == 4)
                total[0] = sum_pairs(*counts++, w, index, x);
            else if constexpr (G == 8)
                total[0] = sum_eights(*counts++, w, index, x);
            else
#endif
                sum_line<G, Broadcast, kAhead, L, NV>(*counts++, w, index, x, total);
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) {
                const std::size_t at = row + static_cast<std::size_t>(v * L);
                if (at < gate_rows)
                    store_n<L>(y + at, total[v], gate_rows - at);
            }
        }
    }
}

template <int G> void row_group(const MatrixView& m, const float* x, float* y, float*) {
    if constexpr (G >= 16) {
        const std::size_t strips = m.gates * ((m.rows / m.gates + G - 1) / G);
        std::size_t tiles = 0;
        for (std::size_t i = 0; i < strips; ++i)
            tiles += m.counts[i];
        return with_ahead(ahead_of(tiles * G), [&](auto a) { row_group_lines<G, a.value>(m, x, y); });
    }
#if LANEWISE_LANES == 16
    if constexpr (G < 16) {
        if (!halves_512_bits())
            return row_group_512<G>(m, x, y);
    }
#endif
    row_group_lines<G, Ahead::none>(m, x, y);
}

} // namespace lanewise::LANEWISE_ISA
