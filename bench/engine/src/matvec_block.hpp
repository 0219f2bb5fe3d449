// Dense matrices and tiles of several columns, for every number format (dot.hpp).
#pragma once

#include "dot.hpp"
#include "matvec.hpp"

namespace lanewise::LANEWISE_ISA {

// Weights that do not fit into L2 beside their inputs come from further away faster when asked for early: dense int8
// and bf16 of H 1024 reached 0.82 of the read limit without and 1.0 with this (Zen 5); from L2 it costs up to a fifth.
constexpr std::size_t kFarBytes = 3 << 18;

LW_INLINE Ahead ahead_of(const MatrixView& m) {
    return m.weight_bytes > kFarBytes ? ahead_beyond_l2() : Ahead::none;
}

// Asks for the line behind a load at w + offset.
template <Ahead kAhead> LW_INLINE void look_ahead(const unsigned char* w, int offset) {
    if (kAhead != Ahead::none && offset % 64 == 0)
        __builtin_prefetch(w + offset + ahead_bytes<kAhead>(2048));
}

// ---- dense, bf16 and int8 ------------------------------------------------------------------------------------------

// One panel of P rows, `chunks` words of the input.
template <typename Dot, int P, Ahead kAhead>
LW_INLINE void dense_words_panel(const MatrixView& m, const unsigned char* w, std::size_t chunks, const Input& input,
                                 float* y, std::size_t first, std::size_t rows) {
    constexpr int S = min_int(P, 8 * kLanes); // rows at once: at most 8 accumulators
    constexpr int NV = S / kLanes;
    constexpr int UN = NV >= 4 ? 1 : 4 / NV;
    for (std::size_t s = 0; s < rows; s += S, w += 4 * S) {
        typename Dot::template Sum<kLanes> sum[UN][NV] = {};
        const unsigned char* at = w;
        const auto add = [&](int u, std::size_t chunk) __attribute__((always_inline)) {
            const auto x = broadcast_word<kLanes>(input.words + 4 * chunk);
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) {
                const auto words = load_words<kLanes>(at + 4 * (u * P + v * kLanes));
                look_ahead<kAhead>(at, 4 * (u * P + v * kLanes));
                sum[u][v] = Dot::template add<kLanes>(sum[u][v], words, x);
            }
        };
        std::size_t c = 0;
        for (; c + UN <= chunks; c += UN, at += 4 * UN * P) {
#pragma GCC unroll 4
            for (int u = 0; u < UN; ++u)
                add(u, c + static_cast<std::size_t>(u));
        }
        for (; c < chunks; ++c, at += 4 * P)
            add(0, c);
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
            const std::size_t row = s + static_cast<std::size_t>(v * kLanes);
            if (row >= rows)
                continue;
#pragma GCC unroll 4
            for (int u = 1; u < UN; ++u)
                sum[0][v] += sum[u][v];
            const auto total = sum[0][v] + Dot::template start<kLanes>(m, first + row);
            store_n<kLanes>(y + row, Dot::template finish<kLanes>(m, first + row, total, input), rows - row);
        }
    }
}

template <typename Dot, Ahead kAhead>
void dense_words_at(const MatrixView& m, const float* x, float* y, float* scratch) {
    const Input input = Dot::prepare(x, m.cols, scratch);
    const auto* w = static_cast<const unsigned char*>(m.weights);
    const std::size_t chunks = (m.cols + Dot::kColumns - 1) / Dot::kColumns;
    std::size_t row = 0;
    for (; row + kPanelRows <= m.rows; row += kPanelRows, w += 4 * kPanelRows * chunks)
        dense_words_panel<Dot, kPanelRows, kAhead>(m, w, chunks, input, y + row, row, kPanelRows);
    for (; row < m.rows; row += kSmallPanelRows, w += 4 * kSmallPanelRows * chunks) {
        const std::size_t left = m.rows - row < kSmallPanelRows ? m.rows - row : kSmallPanelRows;
        dense_words_panel<Dot, kSmallPanelRows, kAhead>(m, w, chunks, input, y + row, row, left);
    }
}

template <typename Dot> void dense_words(const MatrixView& m, const float* x, float* y, float* scratch) {
    with_ahead(ahead_of(m), [&](auto a) { dense_words_at<Dot, a.value>(m, x, y, scratch); });
}

// ---- tiles G x C ---------------------------------------------------------------------------------------------------

// Calls strip(first row, rows of it in the matrix, kept tiles) for every strip of G rows.
template <int G, typename Strip> LW_INLINE void for_strips(const MatrixView& m, Strip strip) {
    const std::size_t gate_rows = m.rows / m.gates;
    const std::uint32_t* counts = m.counts;
    for (std::size_t gate = 0; gate < m.gates; ++gate) {
        for (std::size_t row = 0; row < gate_rows; row += G)
            strip(gate * gate_rows + row, gate_rows - row < G ? gate_rows - row : G, *counts++);
    }
}

// Sums of a strip, G rows in vectors of L, to y.
template <typename Dot, int G, int L>
LW_INLINE void store_strip(const MatrixView& m, std::size_t row, std::size_t rows,
                           typename Dot::template Sum<L> (&sum)[G / L], const Input& input, float* y) {
#pragma GCC unroll 8
    for (int v = 0; v < G / L; ++v) {
        const std::size_t at = static_cast<std::size_t>(v * L);
        if (at < rows) {
            const auto total = sum[v] + Dot::template start<L>(m, row + at);
            store_n<L>(y + row + at, Dot::template finish<L>(m, row + at, total, input), rows - at);
        }
    }
}

template <typename Dot, int G, int C, Ahead kAhead>
void blocks_at(const MatrixView& m, const float* x, float* y, float* scratch) {
    constexpr int L = min_int(G, kLanes);
    constexpr int NV = G / L;
    constexpr int N = C / Dot::kColumns;              // chunks of a tile
    constexpr int A = max_int(1, 8 / NV);             // sets of accumulators: one would wait for every product
    constexpr std::size_t kBytes = 4 / Dot::kColumns; // of one input
    const Input input = Dot::prepare(x, m.cols, scratch);
    const auto* w = static_cast<const unsigned char*>(m.weights);
    const std::uint16_t* index = m.index;
    for_strips<G>(m, [&](std::size_t row, std::size_t rows, std::size_t kept) __attribute__((always_inline)) {
        typename Dot::template Sum<L> sum[A][NV] = {};
        const auto add = [&](int u, std::size_t column) __attribute__((always_inline)) { // tile u of those that w is at
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) {
                const auto xs = broadcast_word<L>(input.words + kBytes * column + 4 * n);
#pragma GCC unroll 8
                for (int v = 0; v < NV; ++v) {
                    const int at = 4 * ((u * N + n) * G + v * L);
                    const auto words = load_words<L>(w + at);
                    look_ahead<kAhead>(w, at);
                    auto& into = sum[(u * N + n) % A][v];
                    into = Dot::template add<L>(into, words, xs);
                }
            }
        };
        each_tile(kept, index, add, [&](int tiles) __attribute__((always_inline)) { w += 4 * tiles * N * G; });
#pragma GCC unroll 8
        for (int u = 1; u < A; ++u) {
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v)
                sum[0][v] += sum[u][v];
        }
        store_strip<Dot, G, L>(m, row, rows, sum[0], input, y);
    });
}

template <typename Dot, int G, int C> void blocks(const MatrixView& m, const float* x, float* y, float* scratch) {
    with_ahead(ahead_of(m), [&](auto a) { blocks_at<Dot, G, C, a.value>(m, x, y, scratch); });
}

} // namespace lanewise::LANEWISE_ISA
