// The run-time list of columns of a delta network: which inputs moved, and the columns of a dense layout that they add.
#pragma once

#include "matvec.hpp"

namespace lanewise::LANEWISE_ISA {

// Lists the inputs (n) further than `threshold` from the value last used, which then is theirs. Without a branch, since
// none could be foretold: room for a place more than there are inputs is written to.
inline std::size_t changed(std::size_t n, float threshold, const float* x, float* used, std::uint32_t* column,
                           float* change) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const float by = x[i] - used[i];
        const bool moved = __builtin_fabsf(by) > threshold;
        column[found] = static_cast<std::uint32_t>(i);
        change[found] = by;
        used[i] = moved ? x[i] : used[i];
        found += moved;
    }
    return found;
}

// One panel of P rows: y[0..rows) += its columns times what their inputs changed by.
template <int P>
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

// y (rows) += the listed columns of a dense layout of (rows, cols) times what their inputs changed by.
inline void add_columns(const float* w, std::size_t rows, std::size_t cols, const std::uint32_t* column,
                        const float* change, std::size_t n, float* y) {
    std::size_t row = 0;
    for (; row + kPanelRows <= rows; row += kPanelRows, w += kPanelRows * cols)
        add_panel<kPanelRows>(w, column, change, n, y + row, kPanelRows);
    for (; row < rows; row += kSmallPanelRows, w += kSmallPanelRows * cols) {
        const std::size_t left = rows - row;
        add_panel<kSmallPanelRows>(w, column, change, n, y + row, left < kSmallPanelRows ? left : kSmallPanelRows);
    }
}

} // namespace lanewise::LANEWISE_ISA
