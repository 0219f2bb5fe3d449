// The run-time list of columns of a delta network: which inputs moved, and the columns of a dense layout that they add.
#pragma once

#include "matvec.hpp"

namespace lanewise::LANEWISE_ISA {

// Lists the inputs (n) further than `threshold` from the value last used, which then is theirs. Without a branch, since
// none could be foretold; up to kInputPadding places behind n are written to. In vectors of 16 a step of 384 units of
// which none moved takes 0.64 instead of 0.87 us (Zen 5).
inline std::size_t changed(std::size_t n, float threshold, const float* x, float* used, std::uint32_t* column,
                           float* change) {
    std::size_t found = 0;
#if LANEWISE_LANES == 16
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (std::size_t i = 0; i < n; i += 16) {
        const auto inside = static_cast<__mmask16>(n - i < 16 ? (1u << (n - i)) - 1 : 0xffffu);
        const __m512 now = _mm512_maskz_loadu_ps(inside, x + i);
        const auto by = (V)_mm512_sub_ps(now, _mm512_maskz_loadu_ps(inside, used + i));
        const __mmask16 moved =
            _mm512_mask_cmp_ps_mask(inside, (__m512)magnitude(by), _mm512_set1_ps(threshold), _CMP_GT_OQ);
        const __m512i at = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(i)));
        _mm512_storeu_si512(column + found, _mm512_maskz_compress_epi32(moved, at));
        _mm512_storeu_ps(change + found, _mm512_maskz_compress_ps(moved, (__m512)by));
        _mm512_mask_storeu_ps(used + i, moved, now);
        found += static_cast<std::size_t>(__builtin_popcount(moved));
    }
#else
    for (std::size_t i = 0; i < n; ++i) {
        const float by = x[i] - used[i];
        const bool moved = __builtin_fabsf(by) > threshold;
        column[found] = static_cast<std::uint32_t>(i);
        change[found] = by;
        used[i] = moved ? x[i] : used[i];
        found += moved;
    }
#endif
    return found;
}

// Of 256 bytes in a panel, as far as fetch_ahead looks at most: AVX2 takes 14.4 instead of 15.7 us a step of 384 units
// with half of the columns left out (Zen 5), AVX-512 the same with and without.
constexpr std::size_t kColumnsAhead = 16;

// One panel of P rows: y[0..rows) += its columns times what their inputs changed by.
template <int P, Ahead kAhead>
LW_INLINE void add_panel(const float* w, const std::uint32_t* column, const float* change, std::size_t n, float* y,
                         std::size_t rows) {
    constexpr int S = min_int(P, 8 * kLanes); // as in dense_panel
    constexpr int NV = S / kLanes;
    constexpr int UN = NV >= 8 ? 1 : min_int(4, 8 / NV);
    for (std::size_t s = 0; s < rows; s += S, w += S) {
        V acc[UN][NV] = {};
        std::size_t k = 0;
        for (; k + UN <= n; k += UN) {
#pragma GCC unroll 4
            for (std::size_t u = 0; u < UN; ++u) {
                const V by = splat(change[k + u]);
                const float* at = w + column[k + u] * std::size_t{P};
                if constexpr (kAhead == Ahead::far) {
                    const float* ahead = w + column[k + u + kColumnsAhead] * std::size_t{P};
#pragma GCC unroll 4
                    for (int line = 0; line < S; line += 16)
                        __builtin_prefetch(ahead + line);
                }
#pragma GCC unroll 8
                for (int v = 0; v < NV; ++v)
                    acc[u][v] += load<kLanes>(at + v * kLanes) * by;
            }
        }
        for (; k < n; ++k) {
            const V by = splat(change[k]);
            const float* at = w + column[k] * std::size_t{P};
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v)
                acc[0][v] += load<kLanes>(at + v * kLanes) * by;
        }
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
#pragma GCC unroll 4
            for (int u = 1; u < UN; ++u)
                acc[0][v] += acc[u][v];
            const std::size_t row = s + static_cast<std::size_t>(v * kLanes);
            if (row < rows)
                store_n<kLanes>(y + row, load_n<kLanes>(y + row, rows - row) + acc[0][v], rows - row);
        }
    }
}

template <Ahead kAhead>
void add_panels(const float* w, std::size_t rows, std::size_t cols, const std::uint32_t* column, const float* change,
                std::size_t n, float* y) {
    std::size_t row = 0;
    for (; row + kPanelRows <= rows; row += kPanelRows, w += kPanelRows * cols)
        add_panel<kPanelRows, kAhead>(w, column, change, n, y + row, kPanelRows);
    for (; row < rows; row += kSmallPanelRows, w += kSmallPanelRows * cols) {
        const std::size_t left = rows - row;
        add_panel<kSmallPanelRows, kAhead>(w, column, change, n, y + row,
                                           left < kSmallPanelRows ? left : kSmallPanelRows);
    }
}

// y (rows) += the listed columns of a dense layout of (rows, cols) times what their inputs changed by.
inline void add_columns(const float* w, std::size_t rows, std::size_t cols, const std::uint32_t* column,
                        const float* change, std::size_t n, float* y) {
    with_ahead(ahead_of(rows * cols), [&](auto a) { add_panels<a.value>(w, rows, cols, column, change, n, y); });
}

} // namespace lanewise::LANEWISE_ISA
