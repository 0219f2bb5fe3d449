#include "matrix.hpp"

#include "error.hpp"
#include "unpack.hpp"

#include <algorithm>
#include <cmath>

namespace lanewise {

Layout parse_layout(const std::string& name) {
    if (name == "dense")
        return Layout::dense;
    if (name == "row_group")
        return Layout::row_group;
    if (name == "dot_group")
        return Layout::dot_group;
    if (name == "compact")
        return Layout::compact;
    if (name == "kept_rows")
        return Layout::kept_rows;
    throw Error("unknown matrix layout"); // not quoted: it may be any bytes of a damaged file
}

Number parse_number(const std::string& name) {
    for (const Number number : {Number::f32, Number::bf16, Number::int8}) {
        if (name == number_name(number))
            return number;
    }
    throw Error("unknown number format"); // nor is this
}

const char* number_name(Number number) {
    return number == Number::f32 ? "f32" : number == Number::bf16 ? "bf16" : "int8";
}

std::size_t dense_weights(std::size_t rows, std::size_t cols, Number number) {
    const std::size_t whole = rows / kPanelRows * kPanelRows;
    return (whole + round_up(rows - whole, kSmallPanelRows)) * round_up(cols, chunk_columns(number));
}

std::size_t stored_rows(const MatrixView& m) {
    return m.layout == Layout::kept_rows ? m.counts[0] : m.rows;
}

MatrixView kept_rows(const MatrixView& m) {
    MatrixView kept = m;
    kept.layout = Layout::dense;
    kept.rows = m.counts[0];
    kept.gates = 1;
    return kept;
}

std::size_t count_entries(const MatrixView& m) {
    switch (m.layout) {
    case Layout::dense:
        return 0;
    case Layout::row_group:
        return m.gates * ((m.rows / m.gates + m.tile_rows - 1) / m.tile_rows);
    case Layout::dot_group:
        return m.rows;
    case Layout::compact:
        return m.gates;
    case Layout::kept_rows:
        return 1;
    }
    return 0;
}

namespace {

// Whether the layout is defined for these tiles and numbers; which ISA has a kernel is another question.
bool known_tile(const MatrixView& m) {
    const std::size_t rows = m.tile_rows, cols = m.tile_cols, k = chunk_columns(m.number);
    switch (m.layout) {
    case Layout::dense:
    case Layout::kept_rows:
        return rows == 1 && cols == 1;
    case Layout::compact:
        return rows == 1 && cols == 1 && m.number == Number::f32;
    case Layout::row_group:
        return (rows == 4 || rows == 8 || rows == 16 || rows == 32) && (cols == 1 || (cols <= 4 && cols % k == 0));
    case Layout::dot_group:
        return rows == 1 && (cols == 1 || cols == 4 || cols == 8 || cols == 16) && m.number == Number::f32;
    }
    return false;
}

// Weights stored for one entry of `counts`, of so many kept tiles, columns or rows.
std::size_t line_weights(const MatrixView& m, std::size_t kept) {
    if (m.layout == Layout::compact)
        return dense_weights(m.rows / m.gates, kept, m.number);
    if (m.layout == Layout::kept_rows)
        return dense_weights(kept, m.cols, m.number);
    const std::size_t columns = m.tile_cols == 1 && m.layout == Layout::row_group
                                    ? round_up(kept, chunk_columns(m.number))
                                    : kept * m.tile_cols;
    return columns * m.tile_rows;
}

bool finite(const MatrixView& m, const MatrixParts& parts) {
    for (std::size_t i = 0; i < parts.n_weights && m.number != Number::int8; ++i) {
        constexpr std::uint32_t kExponent = 0x7f80;
        if (m.number == Number::bf16 ? (static_cast<const std::uint16_t*>(parts.weights)[i] & kExponent) == kExponent
                                     : !std::isfinite(static_cast<const float*>(parts.weights)[i]))
            return false;
    }
    for (std::size_t i = 0; i < parts.n_scales; ++i) {
        if (!std::isfinite(parts.scales[i]))
            return false;
    }
    return true;
}

// Whether all weights that are not zero have a place in the matrix.
template <typename T> bool fills_with_zeros(const MatrixView& m, std::size_t stored) {
    const auto* weights = static_cast<const T*>(m.weights);
    std::size_t placed = 0;
    each_weight(m, weights, [&placed](std::size_t, std::size_t, T weight) { placed += weight != T{}; });
    return placed + static_cast<std::size_t>(std::count(weights, weights + stored, T{})) == stored;
}

} // namespace

Matrix::Matrix(const std::string& name, const MatrixView& shape, const MatrixParts& parts) : view_(shape) {
    const auto require = [&name](bool good, const char* what) {
        if (!good)
            throw Error(name + ": " + what);
    };
    require(shape.rows >= 1 && shape.rows <= kMaxExtent && shape.cols >= 1 && shape.cols <= kMaxExtent,
            "rows and columns must be 1 to 65536");
    require(shape.gates >= 1 && shape.rows % shape.gates == 0, "rows do not split into equal gates");
    require(known_tile(shape), "no kernel for this tile");
    require(parts.n_counts == count_entries(shape), "wrong number of tile counts");

    const bool by_row = shape.layout == Layout::kept_rows;
    const std::size_t extent = by_row ? shape.rows : shape.cols; // what an index counts
    const std::size_t most = (extent + shape.tile_cols - 1) / shape.tile_cols;
    std::size_t kept = 0,
                weights = shape.layout == Layout::dense ? dense_weights(shape.rows, shape.cols, shape.number) : 0;
    for (std::size_t i = 0; i < parts.n_counts; ++i) {
        require(parts.counts[i] <= most, "a tile count is larger than the matrix");
        kept += parts.counts[i];
        weights += line_weights(shape, parts.counts[i]);
    }
    require(parts.n_index == kept, "number of indices differs from the tile counts");
    require(parts.n_weights == weights, "number of weights differs from the tile counts");
    for (std::size_t line = 0, at = 0; line < parts.n_counts; ++line) {
        for (std::size_t k = 0; k < parts.counts[line]; ++k, ++at) {
            require(parts.index[at] < extent,
                    by_row ? "a row index is outside the matrix" : "a column index is outside the matrix");
            require(parts.index[at] % shape.tile_cols == 0, "a column index is not the start of a tile");
            require(k == 0 || parts.index[at] > parts.index[at - 1],
                    by_row ? "row indices do not increase" : "column indices do not increase");
        }
    }
    require(parts.n_scales == (shape.number != Number::int8 ? 0
                               : by_row                     ? kept
                                                            : shape.rows),
            "wrong number of scales");
    require(finite(shape, parts), "holds NaN or infinite numbers");
    if (shape.number == Number::int8) {
        const auto* values = static_cast<const std::int8_t*>(parts.weights);
        for (std::size_t i = 0; i < parts.n_weights; ++i)
            require(values[i] != -128, "an int8 weight is -128"); // sums of two products then fit into 16 bits
    }

    view_.weight_bytes = parts.n_weights * number_bytes(shape.number);
    index_bytes_ = parts.n_index * sizeof(std::uint16_t);
    weights_ = Aligned<unsigned char>(view_.weight_bytes + kReadAhead);
    if (view_.weight_bytes)
        std::memcpy(weights_.data(), parts.weights, view_.weight_bytes);
    index_ = Aligned<std::uint16_t>(parts.n_index + kReadAhead / sizeof(std::uint16_t));
    if (index_bytes_)
        std::memcpy(index_.data(), parts.index, index_bytes_);
    counts_ = Aligned<std::uint32_t>(parts.counts, parts.n_counts);
    view_.weights = weights_.data();
    view_.index = index_.data();
    view_.counts = counts_.data();
    view_.scales = nullptr;
    view_.offsets = nullptr;
    require(shape.number == Number::f32    ? fills_with_zeros<float>(view_, parts.n_weights)
            : shape.number == Number::bf16 ? fills_with_zeros<std::uint16_t>(view_, parts.n_weights)
                                           : fills_with_zeros<std::int8_t>(view_, parts.n_weights),
            "holds weights outside its rows and columns");
    if (shape.number == Number::int8) {
        scales_ = Aligned<float>(parts.n_scales + kPanelRows); // whole vectors are read at the end
        if (parts.n_scales)
            std::memcpy(scales_.data(), parts.scales, parts.n_scales * sizeof(float));
        view_.scales = scales_.data();
        sum_rows();
    }
}

void Matrix::sum_rows() {
    const MatrixView stored = view_.layout == Layout::kept_rows ? kept_rows(view_) : view_;
    offsets_ = Aligned<std::int32_t>(stored.rows + kPanelRows);
    each_weight(stored, static_cast<const std::int8_t*>(stored.weights),
                [&](std::size_t row, std::size_t, std::int8_t weight) { offsets_[row] += 128 * weight; });
    view_.offsets = offsets_.data();
}

std::size_t Matrix::bytes() const {
    const std::size_t rows = view_.number == Number::int8 ? stored_rows(view_) : 0;
    return view_.weight_bytes + index_bytes_ + counts_.size() * sizeof(std::uint32_t) +
           rows * (sizeof(float) + sizeof(std::int32_t));
}

std::uint64_t Matrix::read(std::uint64_t (*reader)(const void*, std::size_t)) const {
    const std::size_t rows = view_.number == Number::int8 ? stored_rows(view_) : 0;
    return reader(weights_.data(), view_.weight_bytes) | reader(index_.data(), index_bytes_) |
           reader(counts_.data(), counts_.size() * sizeof(std::uint32_t)) |
           reader(scales_.data(), rows * sizeof(float)) | reader(offsets_.data(), rows * sizeof(std::int32_t));
}

} // namespace lanewise
