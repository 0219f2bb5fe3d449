// Matrix-vector products, one per layout of matrix.hpp.
#pragma once

#include "core.hpp"
#include "matrix.hpp"
#include "simd.hpp"

namespace lanewise::LANEWISE_ISA {

constexpr int min_int(int a, int b) {
    return a < b ? a : b;
}
constexpr int max_int(int a, int b) {
    return a > b ? a : b;
}

// How early a product asks for its weights, far being 4 KB. Those that a core's own cache cannot hold are then read at
// the full speed of the shared one (Zen 5, AVX-512: dense 1536 x 512 1.21 times as fast, 16 x 1 of 3072 x 1024 at 70
// % 1.19 times; dense 3072 x 1024 with AVX2 0.94 times on a quiet host and 1.17 times on a busy one). Out of the L2 it
// would cost AVX2 10 to 20 %. Worse: 1 KB or 2 KB ahead, and into the L2 alone (slower than without). Tiles 4 x 1 and 8
// x 1 wait for inputs, not weights: no gain.
LW_INLINE Ahead ahead_of(std::size_t floats) {
    constexpr std::size_t kOwnCacheBytes = 1 << 20;
    return kLanes >= 8 && floats * sizeof(float) > kOwnCacheBytes ? ahead_beyond_l2() : Ahead::none;
}
template <Ahead kAhead, int Floats> LW_INLINE void fetch_ahead(const float* w) {
    constexpr int kLine = 16; // floats
    if constexpr (kAhead != Ahead::none) {
#pragma GCC unroll 4
        for (int i = 0; i < Floats; i += kLine)
            __builtin_prefetch(w + ahead_bytes<kAhead>(4096) / sizeof(float) + i);
    }
}

// Lanes of a product that asks so early: 256-bit loads bring more out of the L3 of a core that halves 512-bit ones
// (Zen 4, dense 3072 x 1024: 2.87 instead of 3.07 cycles a line).
template <Ahead kAhead> constexpr int lanes_at = kAhead == Ahead::two_lines ? min_int(kLanes, 8) : kLanes;

// ---- dense -----------------------------------------------------------------------------------------------------

// One panel of P rows: y[0..rows) = panel (cols columns of P floats) times x. Each broadcast of x feeds several
// vectors, and UN columns go to separate accumulators: a single one would wait for every FMA.
//
// The sum is taken in blocks of columns, which rounds far less than one long chain. From 8 lanes on, what adding a
// block loses is summed too (Knuth's two-sum): together with exact embedding tables this cuts the error of the GRU's
// state by a third, and costs nothing there (Zen 5, AVX2 and AVX-512, 48 x 128 to 1152 x 384). With 16 registers of 4
// lanes it spills and takes 14 to 37 % longer, so narrower ISAs go without: a dense baseline must not be slowed down.
template <int P, Ahead kAhead, int L>
LW_INLINE void dense_panel(const float* w, std::size_t cols, const float* x, float* y, std::size_t rows) {
    constexpr int S = min_int(P, 8 * L); // rows at once: at most 8 accumulators
    constexpr int NV = S / L;
    constexpr int UN = NV >= 8 ? 1 : 8 / NV;
    constexpr bool kCompensated = L >= 8;
    constexpr std::size_t kBlock = kCompensated ? 16 : 32;
    for (std::size_t s = 0; s < rows; s += S, w += S) {
        Vec<L> total[NV] = {}, lost[NV] = {};
        const float* at = w;
        for (std::size_t begin = 0; begin < cols; begin += kBlock) {
            const std::size_t end = begin + kBlock < cols ? begin + kBlock : cols;
            Vec<L> acc[UN][NV] = {};
            std::size_t c = begin;
            for (; c + UN <= end; c += UN, at += UN * P) {
#pragma GCC unroll 8
                for (int u = 0; u < UN; ++u) {
                    const auto xs = broadcast<L>(x[c + u]);
                    fetch_ahead<kAhead, S>(at + u * P);
#pragma GCC unroll 8
                    for (int v = 0; v < NV; ++v)
                        acc[u][v] += load<L>(at + u * P + v * L) * xs;
                }
            }
            for (; c < end; ++c, at += P) {
                const auto xs = broadcast<L>(x[c]);
#pragma GCC unroll 8
                for (int v = 0; v < NV; ++v)
                    acc[0][v] += load<L>(at + v * L) * xs;
            }
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) {
#pragma GCC unroll 8
                for (int u = 1; u < UN; ++u)
                    acc[0][v] += acc[u][v];
                const Vec<L> before = total[v];
                total[v] += acc[0][v];
                if constexpr (kCompensated) {
                    const Vec<L> added = total[v] - before;
                    lost[v] += (before - (total[v] - added)) + (acc[0][v] - added);
                }
            }
        }
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
            const std::size_t row = s + static_cast<std::size_t>(v * L);
            if (row < rows)
                store_n<L>(y + row, total[v] + lost[v], rows - row);
        }
    }
}

template <Ahead kAhead, int L>
void dense_panels(const float* w, std::size_t rows, std::size_t cols, const float* x, float* y) {
    std::size_t row = 0;
    for (; row + kPanelRows <= rows; row += kPanelRows, w += kPanelRows * cols) {
        dense_panel<kPanelRows, kAhead, L>(w, cols, x, y + row, kPanelRows);
    }
    for (; row < rows; row += kSmallPanelRows, w += kSmallPanelRows * cols) {
        const std::size_t left = rows - row;
        dense_panel<kSmallPanelRows, kAhead, L>(w, cols, x, y + row, left < kSmallPanelRows ? left : kSmallPanelRows);
    }
}

inline void dense_product(const float* w, std::size_t rows, std::size_t cols, const float* x, float* y) {
    with_ahead(ahead_of(rows * cols), [&](auto a) { dense_panels<a.value, lanes_at<a.value>>(w, rows, cols, x, y); });
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
struct NextEight {
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
        NextEight next_eight;
        next_eight.fetch(index);
        for (; kept >= 8; kept -= 8) {
            const NextEight now = next_eight;
            index += 8;
            next_eight.fetch(index);
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

// A line of `kept` tiles of G weights, summed tile over tile into G lanes: total[v] holds lanes v * L onwards.
// Advances w and index past the line.
template <int G, typename Inputs, Ahead kAhead, int L, int NV>
LW_INLINE void sum_line(std::size_t kept, const float*& w, const std::uint16_t*& index, const float* x,
                        Vec<L> (&total)[NV]) {
    constexpr int A = max_int(1, min_int(4, 8 / NV)); // sets of accumulators: one would wait for every FMA
    Vec<L> acc[A][NV] = {};
    const auto add = [&](int u, std::size_t column) __attribute__((always_inline)) {
        fetch_ahead<kAhead, G>(w + u * G);
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
        sum_line<G, Consecutive, Ahead::none, L, NV>(m.counts[row], w, index, x, total);
#pragma GCC unroll 8
        for (int v = 1; v < NV; ++v)
            total[0] += total[v];
        y[row] = sum<L>(total[0]);
    }
}

} // namespace lanewise::LANEWISE_ISA
