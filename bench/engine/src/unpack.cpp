#include "unpack.hpp"

#include <algorithm>

namespace lanewise {

namespace {

// Calls put(row, column, weight) for every stored weight of a dense layout of (rows, cols); returns its end.
template <typename Put> const float* each_dense(const float* w, std::size_t rows, std::size_t cols, Put put) {
    for (std::size_t row = 0; row < rows;) {
        const std::size_t height = rows - row >= kPanelRows ? kPanelRows : kSmallPanelRows;
        const std::size_t used = std::min(height, rows - row);
        for (std::size_t c = 0; c < cols; ++c, w += height) {
            for (std::size_t i = 0; i < used; ++i)
                put(row + i, c, w[i]);
        }
        row += used;
    }
    return w;
}

// The same for any layout.
template <typename Put> void each_weight(const MatrixView& m, Put put) {
    const float* w = m.weights;
    const std::uint16_t* index = m.index;
    const std::size_t gate_rows = m.rows / m.gates, group = m.group;
    switch (m.format) {
    case Format::dense:
        each_dense(w, m.rows, m.cols, put);
        break;
    case Format::compact:
        for (std::size_t gate = 0; gate < m.gates; index += m.counts[gate++]) {
            const auto shifted = [&](std::size_t r, std::size_t c, float v) { put(gate * gate_rows + r, index[c], v); };
            w = each_dense(w, gate_rows, m.counts[gate], shifted);
        }
        break;
    case Format::row_group:
        for (std::size_t gate = 0, strip = 0; gate < m.gates; ++gate) {
            for (std::size_t row = 0; row < gate_rows; row += group, ++strip) {
                for (std::size_t k = 0; k < m.counts[strip]; ++k, ++index, w += group) {
                    const std::size_t used = std::min(group, gate_rows - row);
                    for (std::size_t i = 0; i < used; ++i)
                        put(gate * gate_rows + row + i, *index, w[i]);
                }
            }
        }
        break;
    case Format::dot_group:
        for (std::size_t row = 0; row < m.rows; ++row) {
            for (std::size_t k = 0; k < m.counts[row]; ++k, ++index, w += group) {
                const std::size_t used = std::min<std::size_t>(group, m.cols - *index);
                for (std::size_t i = 0; i < used; ++i)
                    put(row, *index + i, w[i]);
            }
        }
        break;
    }
}

} // namespace

std::vector<float> unpack(const MatrixView& m) {
    std::vector<float> columns(std::size_t{m.rows} * m.cols);
    each_weight(m, [&](std::size_t row, std::size_t col, float weight) { columns[col * m.rows + row] = weight; });
    return columns;
}

} // namespace lanewise
