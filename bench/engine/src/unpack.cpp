#include "unpack.hpp"

namespace lanewise {

std::vector<float> unpack(const MatrixView& m) {
    std::vector<float> columns(std::size_t{m.rows} * m.cols);
    const auto at = [&](std::size_t row, std::size_t col) -> float& { return columns[col * m.rows + row]; };
    switch (m.number) {
    case Number::f32:
        each_weight(m, m.floats(), [&](std::size_t row, std::size_t col, float weight) { at(row, col) = weight; });
        break;
    case Number::bf16:
        each_weight(m, static_cast<const std::uint16_t*>(m.weights),
                    [&](std::size_t row, std::size_t col, std::uint16_t weight) {
                        const std::uint32_t bits = std::uint32_t{weight} << 16;
                        std::memcpy(&at(row, col), &bits, sizeof bits);
                    });
        break;
    case Number::int8:
        each_weight(m, static_cast<const std::int8_t*>(m.weights),
                    [&](std::size_t row, std::size_t col, std::int8_t weight) {
                        at(row, col) = static_cast<float>(weight) * m.scales[row];
                    });
        break;
    }
    return columns;
}

} // namespace lanewise
