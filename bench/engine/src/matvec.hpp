// Matrix-vector products, one per layout of matrix.hpp.
#pragma once

#include "ahead.hpp"
#include "matrix.hpp"
#include "simd.hpp"

namespace lanewise::LANEWISE_ISA {

constexpr int min_int(int a, int b) {
    return a < b ? a : b;
}
constexpr int max_int(int a, int b) {
    return a > b ? a : b;
}

// Whether a product asks for its weights 4 KB ahead. Those that a core's own cache cannot hold are then read at the
// full speed of the shared one (Zen 5, AVX-512: dense 1536 x 512 1.21 times as fast, 16 x 1 of 3072 x 1024 at 70 % 1.19
// times; dense 3072 x 1024 with AVX2 0.94 times on a quiet host and 1.17 times on a busy one). Out of the L2 it would
// cost AVX2 10 to 20 %. Worse: 1 KB or 2 KB ahead, and into the L2 alone (slower than without). Tiles 4 x 1 and 8 x 1
// wait for inputs, not weights: no gain.
LW_INLINE bool is_far(std::size_t floats) {
    constexpr std::size_t kOwnCacheBytes = 1 << 20;
    return kLanes >= 8 && floats * sizeof(float) > kOwnCacheBytes && asks_ahead();
}
template <bool Far, int Floats> LW_INLINE void fetch_ahead(const float* w) {
    constexpr int kLine = 16, kAhead = 1024; // floats
    if constexpr (Far) {
#pragma GCC unroll 4
        for (int i = 0; i < Floats; i += kLine)
            __builtin_prefetch(w + kAhead + i);
    }
}

// ---- dense -----------------------------------------------------------------------------------------------------

// One panel of P rows: y[0..rows) = panel (cols columns of P floats) times x. Each broadcast of x feeds several
// vectors, and UN columns go to separate accumulators: a single one would wait for every FMA.
//
// The sum is taken in blocks of columns, which rounds far less than one long chain. From 8 lanes on, what adding a
// block loses is summed too (Knuth's two-sum): together with exact embedding tables this cuts the error of the GRU's
// state by a third, and costs nothing there (Zen 5, AVX2 and AVX-512, 48 x 128 to 1152 x 384). With 16 registers of 4
// lanes it spills and takes 14 to 37 % longer, so narrower ISAs go without: a dense baseline must not be slowed down.
template <int P, bool Far>
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
                    fetch_ahead<Far, S>(at + u * P);
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

template <bool Far> void dense_panels(const float* w, std::size_t rows, std::size_t cols, const float* x, float* y) {
    std::size_t row = 0;
    for (; row + kPanelRows <= rows; row += kPanelRows, w += kPanelRows * cols) {
        dense_panel<kPanelRows, Far>(w, cols, x, y + row, kPanelRows);
    }
    for (; row < rows; row += kSmallPanelRows, w += kSmallPanelRows * cols) {
        const std::size_t left = rows - row;
        dense_panel<kSmallPanelRows, Far>(w, cols, x, y + row, left < kSmallPanelRows ? left : kSmallPanelRows);
    }
}

inline void dense_product(const float* w, std::size_t rows, std::size_t cols, const float* x, float* y) {
    if (is_far(rows * cols))
        dense_panels<true>(w, rows, cols, x, y);
    else
        dense_panels<false>(w, rows, cols, x, y);
}

inline void dense(const MatrixView& m, const float* x, float* y, float*) {
    dense_product(m.floats(), m.rows, m.cols, x, y);
}

// Kept columns only: x is gathered once per gate, then the product is dense.
inline void compact(const MatrixView& m, const float* x, float* y, float* scratch) {
    const std::size_t rows = m.rows / m.gates;
    const std::size_t floats_per_column = dense_weights(rows, 1);
    const float* w = m.floats();
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

// The next eight indices, fetched a round before they are used. A load whose address another load in flight must bring
// is tried too early, and again; that takes load slots from the weights (Zen 5, 16 x 1 out of L2: 1.30 cycles a
// tile, 1.21 with eight indices ahead, 1.16 with sixteen, which only lines of hundreds of tiles repay).
struct Ahead {
    std::uint64_t packed[2];

    LW_INLINE void fetch(const std::uint16_t* index) {
        packed[0] = Four(index).packed;
        packed[1] = Four(index + 4).packed;
        asm volatile("" : "+r"(packed[0]), "+r"(packed[1])); // or the compiler would load where it is used
    }
    LW_INLINE std::size_t operator[](int i) const { return (packed[i / 4] >> (16 * (i % 4))) & 0xffff; }
};
// Worth it beside loads of whole cache lines only, and for some dozen tiles (AVX2, short lines: up to a tenth slower).
LW_INLINE bool is_worth_ahead(std::size_t tiles) {
    return kLanes == 16 && tiles >= 32;
}

// Calls add(place, column) for each of a line's `kept` tiles, at most eight to a round, and next(n) behind every n of
// them. Advances index past the line.
template <typename Add, typename Next>
LW_INLINE void each_tile(std::size_t kept, const std::uint16_t*& index, Add add, Next next) {
    if (is_worth_ahead(kept)) {
        Ahead ahead;
        ahead.fetch(index);
        for (; kept >= 8; kept -= 8) {
            const Ahead now = ahead;
            index += 8;
            ahead.fetch(index);
#pragma GCC unroll 8
            for (int u = 0; u < 8; ++u)
                add(u, now[u]);
            next(8);
        }
    }
    for (; kept >= 4; kept -= 4, index += 4) {
        const Four four(index);
#pragma GCC unroll 4
        for (int u = 0; u < 4; ++u)
            add(u, four[u]);
        next(4);
    }
    for (; kept > 0; --kept, ++index) { // spread over several sums it is no faster
        add(0, *index);
        next(1);
    }
}

// What a tile multiplies: one input in all G lanes (G x 1) or G consecutive inputs (1 x G).
struct Broadcast {
    template <int L> LW_INLINE static Vec<L> take(const float* x, int) { return broadcast<L>(*x); }
};
struct Consecutive {
    template <int L> LW_INLINE static Vec<L> take(const float* x, int offset) { return load<L>(x + offset); }
};

#if LANEWISE_LANES == 8
// A line of 4 x 1 tiles, two side by side in a vector so that one weight load serves both: 3.3 instead of 4 cycles per
// 64 bytes of weights (Zen 5). Not worth it for 1 x G (slower: more to fold).
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
template <int G, typename Inputs, bool Far, int L, int NV>
LW_INLINE void sum_line(std::size_t kept, const float*& w, const std::uint16_t*& index, const float* x,
                        Vec<L> (&total)[NV]) {
    constexpr int A = max_int(1, min_int(4, 8 / NV)); // sets of accumulators: one would wait for every FMA
    Vec<L> acc[A][NV] = {};
    const auto add = [&](int u, std::size_t column) __attribute__((always_inline)) {
        fetch_ahead<Far, G>(w + u * G);
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v)
            acc[u % A][v] += load<L>(w + u * G + v * L) * Inputs::template take<L>(x + column, v * L);
    };
    each_tile(kept, index, add, [&](int tiles) __attribute__((always_inline)) { w += tiles * G; });
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
        total[v] = acc[0][v];
#pragma GCC unroll 4
        for (int u = 1; u < A; ++u)
            total[v] += acc[u][v];
    }
}

#if LANEWISE_LANES == 16
// Tiles 8 x 1 and 4 x 1 in 512 bits: two or four side by side in a vector, so that one weight load serves all. A load
// across a cache line counts twice, so vectors stay aligned; the one where a strip ends and the next begins is
// multiplied once and its lanes are shared out (loaded per strip it cost what it gained).
//
// 8 x 1 takes 0.90 to 0.95, 4 x 1 0.87 to 0.90 of the time of 256-bit code (512 columns, 70 and 80 %). What is left is
// load ports: Zen 5 takes two vector loads a cycle, and 512-bit ones crowd out the integer loads of indices beside
// them. Measured and no better: inputs through integer registers and vpbroadcastd (8 x 1 slower, 4 x 1 equal), indices
// by four 16-bit loads (slower) or fetched an iteration ahead (equal), bextr (4 x 1 3 %), inputs paired or gathered
// into a buffer and permuted from there (slower), gather instructions (twice the time).
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

// Tiles G x 1: no horizontal sums.
template <int G, bool Far> void row_group_lines(const MatrixView& m, const float* x, float* y) {
    constexpr int L = min_int(G, kLanes);
    constexpr int NV = G / L;
    const std::size_t gate_rows = m.rows / m.gates;
    const float* w = m.floats();
    const std::uint16_t* index = m.index;
    const std::uint32_t* counts = m.counts;
    for (std::uint32_t gate = 0; gate < m.gates; ++gate, y += gate_rows) {
        for (std::size_t row = 0; row < gate_rows; row += G) {
            Vec<L> total[NV];
#if LANEWISE_LANES == 8
            if constexpr (G == 4)
                total[0] = sum_pairs(*counts++, w, index, x);
            else
#endif
                sum_line<G, Broadcast, Far, L, NV>(*counts++, w, index, x, total);
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
        if (is_far(tiles * G))
            return row_group_lines<G, true>(m, x, y);
    }
#if LANEWISE_LANES == 16
    if constexpr (G < 16)
        return row_group_512<G>(m, x, y);
#endif
    row_group_lines<G, false>(m, x, y);
}

#if LANEWISE_LANES >= 4
// Single weights, four to a vector whose inputs the compiler inserts one by one: 0.7 cycles a weight instead of 1.2 one
// by one (Zen 5). The limit is taking the indices apart. Slower there: a gather of 16 (0.8) or 8 (0.75, before its
// index conversion), pairs through integer registers (0.85), inputs copied into a buffer first (0.85).
inline void single_weights(const MatrixView& m, const float* x, float* y) {
    const float* w = m.floats();
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
    const float* w = m.floats();
    const std::uint16_t* index = m.index;
    for (std::uint32_t row = 0; row < m.rows; ++row) {
        Vec<L> total[NV];
        sum_line<G, Consecutive, false, L, NV>(m.counts[row], w, index, x, total);
#pragma GCC unroll 8
        for (int v = 1; v < NV; ++v)
            total[0] += total[v];
        y[row] = sum<L>(total[0]);
    }
}

} // namespace lanewise::LANEWISE_ISA
