// Back from a packed layout to plain weights, for what is computed once or rarely.
#pragma once

#include "matrix.hpp"

#include <algorithm>
#include <vector>

namespace lanewise {

// Calls put(row, column, weight) for every stored weight of a chunked line: `rows` rows from `row` on, of `group`
// stored ones, and `cols` columns of which column k is columns(k); returns its end.
template <typename T, typename Columns, typename Put>
const T* each_chunked(const T* w, std::size_t row, std::size_t rows, std::size_t group, std::size_t cols,
                      Columns columns, Put put) {
    constexpr std::size_t kChunk = sizeof(float) / sizeof(T);
    for (std::size_t k = 0; k < cols; k += kChunk, w += group * kChunk) {
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t u = 0; u < std::min(kChunk, cols - k); ++u)
                put(row + i, columns(k + u), w[i * kChunk + u]);
        }
    }
    return w;
}

// The same for a dense layout of (rows, cols).
template <typename T, typename Columns, typename Put>
const T* each_dense(const T* w, std::size_t first, std::size_t rows, std::size_t cols, Columns columns, Put put) {
    for (std::size_t row = 0; row < rows;) {
        const std::size_t height = rows - row >= kPanelRows ? kPanelRows : kSmallPanelRows;
        const std::size_t used = std::min(height, rows - row);
        w = each_chunked(w, first + row, used, height, cols, columns, put);
        row += used;
    }
    return w;
}

// Calls put(row, column, weight) for every stored weight of a matrix whose weights are of type T.
template <typename T, typename Put> void each_weight(const MatrixView& m, const T* w, Put put) {
    const std::uint16_t* index = m.index;
    const std::size_t gate_rows = m.rows / m.gates, group = m.tile_rows, width = m.tile_cols;
    const auto kept_column = [&](std::size_t k) -> std::size_t { return index[k]; };
    switch (m.layout) {
    case Layout::dense:
        each_dense(w, 0, m.rows, m.cols, [](std::size_t k) { return k; }, put);
        break;
    case Layout::compact:
        for (std::size_t gate = 0; gate < m.gates; index += m.counts[gate++])
            w = each_dense(w, gate * gate_rows, gate_rows, m.counts[gate], kept_column, put);
        break;
    case Layout::kept_rows: {
        const auto spread = [&](std::size_t k, std::size_t c, T weight) { put(index[k], c, weight); };
        each_dense(w, 0, m.counts[0], m.cols, [](std::size_t k) { return k; }, spread);
        break;
    }
    case Layout::row_group:
    case Layout::dot_group:
        for (std::size_t gate = 0, line = 0; gate < m.gates; ++gate) {
            for (std::size_t row = 0; row < gate_rows; row += group, index += m.counts[line++]) {
                const std::size_t used = std::min(group, gate_rows - row), at = gate * gate_rows + row;
                if (width == 1) {
                    w = each_chunked(w, at, used, group, m.counts[line], kept_column, put);
                    continue;
                }
                for (std::size_t k = 0; k < m.counts[line]; ++k) {
                    const auto inside = [&](std::size_t r, std::size_t c, T weight) {
                        if (c < m.cols)
                            put(r, c, weight);
                    };
                    w = each_chunked(w, at, used, group, width, [&](std::size_t u) { return index[k] + u; }, inside);
                }
            }
        }
        break;
    }
}

// `cols` columns from `first` on, (cols, rows) in f32, one column after the other; zero where nothing is stored.
std::vector<float> unpack(const MatrixView& m, std::size_t first, std::size_t cols);
inline std::vector<float> unpack(const MatrixView& m) {
    return unpack(m, 0, m.cols);
}

} // namespace lanewise
