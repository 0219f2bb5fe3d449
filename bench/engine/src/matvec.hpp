// Matrix-vector products, one per layout of matrix.hpp.
#pragma once

#include "matrix.hpp"
#include "simd.hpp"

namespace lanewise::LANEWISE_ISA {

constexpr int min_int(int a, int b) {
    return a < b ? a : b;
}
constexpr int max_int(int a, int b) {
    return a > b ? a : b;
}

// ---- dense -----------------------------------------------------------------------------------------------------

// One panel of P rows: y[0..rows) = panel (cols columns of P floats) times x. Each broadcast of x feeds several
// vectors, and UN columns go to separate accumulators: a single one would wait for every FMA.
//
// The sum is taken in blocks of columns, which rounds far less than one long chain. From 8 lanes on, what adding a
// block loses is summed too (Knuth's two-sum): together with exact embedding tables this cuts the error of the GRU's
// state by a third, and costs nothing there (Zen 5, AVX2 and AVX-512, 48 x 128 to 1152 x 384). With 16 registers of 4
// lanes it spills and takes 14 to 37 % longer, so narrower ISAs go without: a dense baseline must not be slowed down.
template <int P>
LW_INLINE void dense_panel(const float* w, std::size_t cols, const float* x, float* y, std::size_t rows) {
    constexpr int S = min_int(P, 8 * kLanes); // rows at once: at most 8 accumulators
    constexpr int NV = S / kLanes;
    constexpr int UN = NV >= 8 ? 1 : 8 / NV;
    constexpr bool kCompensated = kLanes >= 8;
    constexpr std::size_t kBlock = kCompensated ? 16 : 32;
    for (std::size_t s = 0; s < rows; s += S, w += S) {
        V total[NV] = {}, lost[NV] = {};
        const float* at = w;
        for (std::size_t begin = 0; begin < cols; begin += kBlock) {
            const std::size_t end = begin + kBlock < cols ? begin + kBlock : cols;
            V acc[UN][NV] = {};
            std::size_t c = begin;
            for (; c + UN <= end; c += UN, at += UN * P) {
#pragma GCC unroll 8
                for (int u = 0; u < UN; ++u) {
                    const V xs = splat(x[c + u]);
#pragma GCC unroll 8
                    for (int v = 0; v < NV; ++v)
                        acc[u][v] += load<kLanes>(at + u * P + v * kLanes) * xs;
                }
            }
            for (; c < end; ++c, at += P) {
                const V xs = splat(x[c]);
#pragma GCC unroll 8
                for (int v = 0; v < NV; ++v)
                    acc[0][v] += load<kLanes>(at + v * kLanes) * xs;
            }
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) {
#pragma GCC unroll 8
                for (int u = 1; u < UN; ++u)
                    acc[0][v] += acc[u][v];
                const V before = total[v];
                total[v] += acc[0][v];
                if constexpr (kCompensated) {
                    const V added = total[v] - before;
                    lost[v] += (before - (total[v] - added)) + (acc[0][v] - added);
                }
            }
        }
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
            const std::size_t row = s + static_cast<std::size_t>(v * kLanes);
            if (row < rows)
                store_n<kLanes>(y + row, total[v] + lost[v], rows - row);
        }
    }
}

inline void dense_product(const float* w, std::size_t rows, std::size_t cols, const float* x, float* y) {
    std::size_t row = 0;
    for (; row + kPanelRows <= rows; row += kPanelRows, w += kPanelRows * cols) {
        dense_panel<kPanelRows>(w, cols, x, y + row, kPanelRows);
    }
    for (; row < rows; row += kSmallPanelRows, w += kSmallPanelRows * cols) {
        const std::size_t left = rows - row;
        dense_panel<kSmallPanelRows>(w, cols, x, y + row, left < kSmallPanelRows ? left : kSmallPanelRows);
    }
}

inline void dense(const MatrixView& m, const float* x, float* y, float*) {
    dense_product(m.weights, m.rows, m.cols, x, y);
}

// Kept columns only: x is gathered once per gate, then the product is dense.
inline void compact(const MatrixView& m, const float* x, float* y, float* scratch) {
    const std::size_t rows = m.rows / m.gates;
    const std::size_t floats_per_column = dense_floats(rows, 1);
    const float* w = m.weights;
    const std::uint16_t* index = m.index;
    for (std::uint32_t gate = 0; gate < m.gates; ++gate) {
        const std::size_t kept = m.counts[gate];
        for (std::size_t k = 0; k < kept; ++k)
            scratch[k] = x[index[k]];
        dense_product(w, rows, kept, scratch, y + gate * rows);
        w += floats_per_column * kept;
        index += kept;
    }
}

// ---- sparse tiles ------------------------------------------------------------------------------------------------

// Four column indices, fetched by one load: with one load each, 8x1 took 1.6 instead of 1.2 cycles a tile (Zen 4).
struct Four {
    std::uint64_t packed;
    explicit Four(const std::uint16_t* index) { __builtin_memcpy(&packed, index, sizeof packed); }
    LW_INLINE std::size_t operator[](int i) const { return (packed >> (16 * i)) & 0xffff; }
};

// What a tile multiplies: one input in all G lanes (G x 1) or G consecutive inputs (1 x G).
struct Broadcast {
    template <int L> LW_INLINE static Vec<L> take(const float* x, int) { return broadcast<L>(*x); }
};
struct Consecutive {
    template <int L> LW_INLINE static Vec<L> take(const float* x, int offset) { return load<L>(x + offset); }
};

#if LANEWISE_LANES >= 8
// A line of 4 x 1 tiles, two side by side in a vector so that one weight load serves both: 3.3 instead of 4 cycles per
// 64 bytes of weights (Zen 5). Not worth it for 8 x 1 in 512 bits (equal) nor for 1 x G (slower: more to fold).
LW_INLINE Vec<4> sum_pairs(std::size_t kept, const float*& w, const std::uint16_t*& index, const float* x) {
    const auto two = [x](std::size_t first, std::size_t second) __attribute__((always_inline)) {
        return (Vec<8>)_mm256_blend_ps(_mm256_set1_ps(x[first]), _mm256_set1_ps(x[second]), 0xf0);
    };
    Vec<8> acc[4] = {};
    std::size_t k = 0;
    for (; k + 8 <= kept; k += 8, w += 32, index += 8) {
        const Four a(index), b(index + 4);
        acc[0] += load<8>(w) * two(a[0], a[1]);
        acc[1] += load<8>(w + 8) * two(a[2], a[3]);
        acc[2] += load<8>(w + 16) * two(b[0], b[1]);
        acc[3] += load<8>(w + 24) * two(b[2], b[3]);
    }
    for (; k + 2 <= kept; k += 2, w += 8, index += 2)
        acc[0] += load<8>(w) * two(index[0], index[1]);
    Vec<4> total = fold<8, 4>((acc[0] + acc[1]) + (acc[2] + acc[3]));
    if (k < kept) {
        total += load<4>(w) * broadcast<4>(x[*index]);
        w += 4;
        ++index;
    }
    return total;
}
#endif

// A line of `kept` tiles of G weights, summed tile over tile into G lanes: total[v] holds lanes v * L onwards.
// Advances w and index past the line.
template <int G, typename Inputs, int L, int NV>
LW_INLINE void sum_line(std::size_t kept, const float*& w, const std::uint16_t*& index, const float* x,
                        Vec<L> (&total)[NV]) {
    constexpr int A = max_int(1, min_int(4, 8 / NV)); // sets of accumulators: one would wait for every FMA
    Vec<L> acc[A][NV] = {};
    std::size_t k = 0;
    for (; k + 4 <= kept; k += 4, w += 4 * G, index += 4) {
        const Four four(index);
#pragma GCC unroll 4
        for (int u = 0; u < 4; ++u) {
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) {
                acc[u % A][v] += load<L>(w + u * G + v * L) * Inputs::template take<L>(x + four[u], v * L);
            }
        }
    }
    for (; k < kept; ++k, w += G, ++index) {
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
            acc[0][v] += load<L>(w + v * L) * Inputs::template take<L>(x + *index, v * L);
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
        total[v] = acc[0][v];
#pragma GCC unroll 4
        for (int u = 1; u < A; ++u)
            total[v] += acc[u][v];
    }
}

// Tiles G x 1: no horizontal sums.
template <int G> void row_group(const MatrixView& m, const float* x, float* y, float*) {
    constexpr int L = min_int(G, kLanes);
    constexpr int NV = G / L;
    const std::size_t gate_rows = m.rows / m.gates;
    const float* w = m.weights;
    const std::uint16_t* index = m.index;
    const std::uint32_t* counts = m.counts;
    for (std::uint32_t gate = 0; gate < m.gates; ++gate, y += gate_rows) {
        for (std::size_t row = 0; row < gate_rows; row += G) {
            Vec<L> total[NV];
#if LANEWISE_LANES >= 8
            if constexpr (G == 4)
                total[0] = sum_pairs(*counts++, w, index, x);
            else
#endif
                sum_line<G, Broadcast, L, NV>(*counts++, w, index, x, total);
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) {
                const std::size_t at = row + static_cast<std::size_t>(v * L);
                if (at < gate_rows)
                    store_n<L>(y + at, total[v], gate_rows - at);
            }
        }
    }
}

#if LANEWISE_LANES >= 4
// Single weights, four to a vector whose inputs the compiler inserts one by one: 0.7 cycles a weight instead of 1.2 one
// by one (Zen 5). The limit is taking the indices apart. Slower there: a gather of 16 (0.8) or 8 (0.75, before its
// index conversion), pairs through integer registers (0.85), inputs copied into a buffer first (0.85).
inline void single_weights(const MatrixView& m, const float* x, float* y) {
    const float* w = m.weights;
    const std::uint16_t* index = m.index;
    const auto inputs = [x](const std::uint16_t* at) __attribute__((always_inline)) {
        const Four four(at);
        return Vec<4>{x[four[0]], x[four[1]], x[four[2]], x[four[3]]};
    };
    for (std::uint32_t row = 0; row < m.rows; ++row) {
        const std::size_t kept = m.counts[row];
        Vec<4> acc[4] = {};
        std::size_t k = 0;
        for (; k + 16 <= kept; k += 16) {
#pragma GCC unroll 4
            for (std::size_t v = 0; v < 4; ++v)
                acc[v] += load<4>(w + k + 4 * v) * inputs(index + k + 4 * v);
        }
        for (; k + 4 <= kept; k += 4)
            acc[0] += load<4>(w + k) * inputs(index + k);
        float rest = 0.0f;
        for (; k < kept; ++k)
            rest += w[k] * x[index[k]];
        y[row] = sum<4>((acc[0] + acc[1]) + (acc[2] + acc[3])) + rest;
        w += kept;
        index += kept;
    }
}
#endif

// Tiles 1 x G; G = 1 is a plain sparse row.
template <int G> void dot_group(const MatrixView& m, const float* x, float* y, float*) {
#if LANEWISE_LANES >= 4
    if constexpr (G == 1)
        return single_weights(m, x, y);
#endif
    constexpr int L = min_int(G, kLanes);
    constexpr int NV = G / L;
    const float* w = m.weights;
    const std::uint16_t* index = m.index;
    for (std::uint32_t row = 0; row < m.rows; ++row) {
        Vec<L> total[NV];
        sum_line<G, Consecutive, L, NV>(m.counts[row], w, index, x, total);
#pragma GCC unroll 8
        for (int v = 1; v < NV; ++v)
            total[0] += total[v];
        y[row] = sum<L>(total[0]);
    }
}

} // namespace lanewise::LANEWISE_ISA
