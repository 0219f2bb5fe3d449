#include "unpack.hpp"

#include <bit>

namespace lanewise {

std::vector<float> unpack(const MatrixView& m, std::size_t first, std::size_t cols) {
    std::vector<float> columns(m.rows * cols);
    if (m.layout == Layout::kept_rows) { // scales count stored rows
        const MatrixView kept = kept_rows(m);
        const std::vector<float> stored = unpack(kept, first, cols);
        for (std::size_t i = 0; i < stored.size(); ++i)
            columns[i / kept.rows * m.rows + m.index[i % kept.rows]] = stored[i];
        return columns;
    }
    const auto put = [&](std::size_t row, std::size_t col, float weight) {
        if (col >= first && col < first + cols)
            columns[(col - first) * m.rows + row] = weight;
    };
    switch (m.number) {
    case Number::f32:
        each_weight(m, m.floats(), put);
        break;
    case Number::bf16:
        each_weight(m, static_cast<const std::uint16_t*>(m.weights),
                    [&](std::size_t row, std::size_t col, std::uint16_t weight) {
                        put(row, col, std::bit_cast<float>(std::uint32_t{weight} << 16));
                    });
        break;
    case Number::int8:
        each_weight(m, static_cast<const std::int8_t*>(m.weights),
                    [&](std::size_t row, std::size_t col, std::int8_t weight) {
                        put(row, col, static_cast<float>(weight) * m.scales[row]);
                    });
        break;
    }
    return columns;
}

} // namespace lanewise
