#include "matrix.hpp"

#include "error.hpp"

namespace lanewise {

Format parse_format(const std::string& name) {
    if (name == "dense")
        return Format::dense;
    if (name == "row_group")
        return Format::row_group;
    if (name == "dot_group")
        return Format::dot_group;
    if (name == "compact")
        return Format::compact;
    throw Error("unknown matrix format"); // not quoted: it may be any bytes of a damaged file
}

std::size_t dense_floats(std::size_t rows, std::size_t cols) {
    const std::size_t whole = rows / kPanelRows * kPanelRows;
    return (whole + round_up(rows - whole, kSmallPanelRows)) * cols;
}

std::size_t count_entries(const MatrixView& m) {
    switch (m.format) {
    case Format::dense:
        return 0;
    case Format::row_group:
        return m.gates * ((m.rows / m.gates + m.group - 1) / m.group);
    case Format::dot_group:
        return m.rows;
    case Format::compact:
        return m.gates;
    }
    return 0;
}

namespace {

bool known_group(Format format, std::uint32_t group) {
    switch (format) {
    case Format::dense:
    case Format::compact:
        return group == 1;
    case Format::row_group:
        return group == 4 || group == 8 || group == 16 || group == 32;
    case Format::dot_group:
        return group == 1 || group == 4 || group == 8 || group == 16;
    }
    return false;
}

// Kept columns (or tiles) that the matrix can have at most per entry of `counts`.
std::size_t most_per_entry(const MatrixView& m) {
    return m.format == Format::dot_group ? (m.cols + m.group - 1) / m.group : m.cols;
}

std::size_t expected_weights(const MatrixView& m, std::size_t kept) {
    switch (m.format) {
    case Format::dense:
        return dense_floats(m.rows, m.cols);
    case Format::compact:
        return dense_floats(m.rows / m.gates, 1) * kept;
    default:
        return kept * m.group;
    }
}

} // namespace

Matrix::Matrix(const std::string& name, MatrixView shape, const float* weights, std::size_t n_weights,
               const std::uint16_t* index, std::size_t n_index, const std::uint32_t* counts, std::size_t n_counts)
    : view_(shape) {
    const auto require = [&name](bool good, const char* what) {
        if (!good)
            throw Error(name + ": " + what);
    };
    require(shape.rows >= 1 && shape.rows <= kMaxExtent && shape.cols >= 1 && shape.cols <= kMaxExtent,
            "rows and columns must be 1 to 65536");
    require(shape.gates >= 1 && shape.rows % shape.gates == 0, "rows do not split into equal gates");
    require(known_group(shape.format, shape.group), "no kernel for this tile");
    require(n_counts == count_entries(shape), "wrong number of tile counts");

    std::size_t kept = 0;
    for (std::size_t i = 0; i < n_counts; ++i) {
        require(counts[i] <= most_per_entry(shape), "a tile count is larger than the matrix");
        kept += counts[i];
    }
    require(n_index == kept, "number of indices differs from the tile counts");
    require(n_weights == expected_weights(shape, kept), "number of weights differs from the tile counts");
    const std::uint32_t width = shape.format == Format::dot_group ? shape.group : 1;
    const std::uint16_t* at = index;
    for (std::size_t i = 0; i < n_counts; ++i) {
        for (std::size_t k = 0; k < counts[i]; ++k, ++at) {
            require(*at < shape.cols, "a column index is outside the matrix");
            require(*at % width == 0, "a column index is not that of a tile");
            require(k == 0 || at[-1] < *at, "column indices do not ascend");
        }
    }

    weights_ = Aligned<float>(weights, n_weights);
    // Kernels fetch four indices at once, so a few readable entries must follow the last.
    index_ = Aligned<std::uint16_t>(n_index + 4);
    if (n_index)
        std::memcpy(index_.data(), index, n_index * sizeof(std::uint16_t));
    counts_ = Aligned<std::uint32_t>(counts, n_counts);
    view_.weights = weights_.data();
    view_.index = index_.data();
    view_.counts = counts_.data();
    bytes_ = n_weights * sizeof(float) + n_index * sizeof(std::uint16_t) + n_counts * sizeof(std::uint32_t);
}

std::uint64_t Matrix::read(std::uint64_t (*reader)(const void*, std::size_t)) const {
    const std::size_t n_index = view_.format == Format::dense ? 0 : index_.size() - 4;
    return reader(weights_.data(), weights_.size() * sizeof(float)) |
           reader(index_.data(), n_index * sizeof(std::uint16_t)) |
           reader(counts_.data(), counts_.size() * sizeof(std::uint32_t));
}

} // namespace lanewise
