// Plain weight matrices and a packer for them, written from the layouts' description in matrix.hpp alone.
#pragma once

#include "check.hpp"
#include "isa.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace lanewise::test {

// What a kernel is for: a layout, its tile and the numbers in it.
struct Tiling {
    Layout layout;
    Number number;
    std::uint32_t tile_rows, tile_cols;

    bool operator==(const Tiling&) const = default;
    const char* layout_name() const {
        switch (layout) {
        case Layout::dense:
            return "dense";
        case Layout::row_group:
            return "row_group";
        case Layout::dot_group:
            return "dot_group";
        case Layout::compact:
            return "compact";
        case Layout::kept_rows:
            return "kept_rows";
        }
        return "";
    }
    std::string name() const {
        return std::string(layout_name()) + " " + std::to_string(tile_rows) + "x" + std::to_string(tile_cols) + " " +
               number_name(number);
    }
    // Rows and columns that are kept or dropped together in a gate of so many rows.
    std::size_t height(std::size_t gate_rows) const { return layout == Layout::compact ? gate_rows : tile_rows; }
    // Columns that are, in a matrix of so many.
    std::size_t width(std::size_t cols) const { return layout == Layout::kept_rows ? cols : tile_cols; }
    // A matrix (rows, cols) without its contents.
    MatrixView shape(std::uint32_t rows, std::uint32_t cols, std::uint32_t gates) const {
        MatrixView view{};
        view.layout = layout, view.number = number, view.tile_rows = tile_rows, view.tile_cols = tile_cols;
        view.rows = rows, view.cols = cols, view.gates = gates;
        return view;
    }
};

constexpr Tiling kDense{Layout::dense, Number::f32, 1, 1};

// Everything that any ISA of this build has a kernel for, as the engine's own tables say.
inline const std::vector<Tiling>& tilings() {
    static const std::vector<Tiling> all = [] {
        std::vector<Tiling> found;
        for (const Isa& isa : built_isas()) {
            for (std::size_t i = 0; i < isa.kernels->n_products; ++i) {
                const MatVecEntry& entry = isa.kernels->products[i];
                const Tiling tiling{entry.layout, entry.number, entry.tile_rows, entry.tile_cols};
                if (std::find(found.begin(), found.end(), tiling) == found.end())
                    found.push_back(tiling);
            }
        }
        return found;
    }();
    return all;
}

// The nearest bf16, a float of 8 significant bits.
inline float rounded_bf16(float x) {
    int exponent = 0;
    const double significand = std::frexp(static_cast<double>(x), &exponent);
    return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(significand, 8)), exponent - 8));
}

// An input as the kernels of a tiling read it: in f32 unchanged; in bf16 rounded, unless columns are picked one by one,
// which broadcasts floats; in int8 as steps of a 127th of the greatest magnitude.
inline std::vector<double> as_read(const Tiling& tiling, std::vector<double> x) {
    if (tiling.number == Number::bf16 && !(tiling.layout == Layout::row_group && tiling.tile_cols == 1)) {
        for (double& value : x)
            value = static_cast<double>(rounded_bf16(static_cast<float>(value)));
    } else if (tiling.number == Number::int8) {
        float greatest = 0.0f;
        for (const double value : x)
            greatest = std::max(greatest, std::abs(static_cast<float>(value)));
        const float inverse = greatest > 1e-30f ? 127.0f / greatest : 0.0f;
        for (double& value : x)
            value = static_cast<double>(std::nearbyint(static_cast<float>(value) * inverse)) *
                    static_cast<double>(greatest / 127.0f);
    }
    return x;
}

struct Plain {
    Tiling tiling;
    std::size_t rows, cols;
    std::vector<float> stored; // row by row; of int8, whole numbers
    std::vector<float> scales; // of int8, one per row

    double at(std::size_t row, std::size_t col) const {
        const double scale = scales.empty() ? 1.0 : static_cast<double>(scales[row]);
        return static_cast<double>(stored[row * cols + col]) * scale;
    }
    // W x, the slow and obviously right way.
    std::vector<double> operator()(const std::vector<double>& x) const {
        std::vector<double> y(rows, 0.0);
        for (std::size_t r = 0; r < rows; ++r) {
            for (std::size_t c = 0; c < cols; ++c)
                y[r] += at(r, c) * x[c];
        }
        return y;
    }
};

// Weights (rows, cols) as they are stored.
inline Plain encode(const Tiling& tiling, std::size_t rows, std::size_t cols, std::vector<float> weights) {
    Plain plain{tiling, rows, cols, std::move(weights), {}};
    if (tiling.number == Number::bf16) {
        for (float& weight : plain.stored)
            weight = rounded_bf16(weight);
    }
    for (std::size_t r = 0; r < rows && tiling.number == Number::int8; ++r) {
        float* row = plain.stored.data() + r * cols;
        float greatest = 0.0f;
        for (std::size_t c = 0; c < cols; ++c)
            greatest = std::max(greatest, std::abs(row[c]));
        plain.scales.push_back(greatest / 127.0f);
        for (std::size_t c = 0; c < cols && greatest > 0.0f; ++c)
            row[c] = std::nearbyint(row[c] / greatest * 127.0f);
    }
    return plain;
}

// Normal weights; each tile is kept with this probability (1 for dense), gate by gate.
inline Plain random_plain(Rng& rng, const Tiling& tiling, std::size_t rows, std::size_t cols, std::size_t gates,
                          double kept, double spread = 1.0) {
    std::vector<float> weights = normal(rng, rows * cols, spread);
    const std::size_t gate_rows = rows / gates, height = tiling.height(gate_rows), width = tiling.width(cols);
    std::bernoulli_distribution keep(tiling.layout == Layout::dense ? 1.0 : kept);
    for (std::size_t gate = 0; gate < gates; ++gate) {
        for (std::size_t r = 0; r < gate_rows; r += height) {
            for (std::size_t c = 0; c < cols; c += width) {
                if (keep(rng))
                    continue;
                for (std::size_t i = r; i < std::min(r + height, gate_rows); ++i) {
                    for (std::size_t k = c; k < std::min(c + width, cols); ++k)
                        weights[(gate * gate_rows + i) * cols + k] = 0.0f;
                }
            }
        }
    }
    return encode(tiling, rows, cols, std::move(weights));
}

struct Packed {
    Tiling tiling;
    std::uint32_t rows, cols, gates;
    std::size_t n_weights;
    std::vector<unsigned char> weights; // bytes of n_weights numbers
    std::vector<std::uint16_t> index;
    std::vector<std::uint32_t> counts;
    std::vector<float> scales;

    MatrixView shape() const { return tiling.shape(rows, cols, gates); }
    Matrix matrix() const {
        return {"matrix",
                shape(),
                {weights.data(), n_weights, index.data(), index.size(), counts.data(), counts.size(), scales.data(),
                 scales.size()}};
    }
    void append(float weight) {
        std::uint32_t bits;
        std::memcpy(&bits, &weight, sizeof bits);
        if (tiling.number == Number::bf16)
            bits >>= 16;
        else if (tiling.number == Number::int8)
            bits = static_cast<std::uint32_t>(static_cast<std::int32_t>(weight));
        for (std::size_t byte = 0; byte < number_bytes(tiling.number); ++byte)
            weights.push_back(static_cast<unsigned char>(bits >> 8 * byte));
        ++n_weights;
    }
    // Chunks of the given columns and `height` rows from `row`; what lies outside [row, end) or the matrix is zero.
    void append_chunks(const Plain& plain, std::size_t row, std::size_t height, std::size_t end,
                       const std::vector<std::size_t>& columns) {
        const std::size_t chunk = chunk_columns(tiling.number);
        for (std::size_t first = 0; first < columns.size(); first += chunk) {
            for (std::size_t r = row; r < row + height; ++r) {
                for (std::size_t k = first; k < first + chunk; ++k) {
                    const bool inside = r < end && k < columns.size() && columns[k] < cols;
                    append(inside ? plain.stored[r * cols + columns[k]] : 0.0f);
                }
            }
        }
    }
    // The dense layout of rows [row, end) and the given columns.
    void append_panels(const Plain& plain, std::size_t row, std::size_t end, const std::vector<std::size_t>& columns) {
        for (std::size_t height; row < end; row += height) {
            height = end - row >= kPanelRows ? kPanelRows : kSmallPanelRows;
            append_chunks(plain, row, height, end, columns);
        }
    }
};

// `count` columns from `first` on.
inline std::vector<std::size_t> consecutive(std::size_t first, std::size_t count) {
    std::vector<std::size_t> columns(count);
    for (std::size_t c = 0; c < count; ++c)
        columns[c] = first + c;
    return columns;
}

inline Packed pack(const Plain& plain, std::size_t gates) {
    const Tiling& tiling = plain.tiling;
    Packed packed{tiling,
                  static_cast<std::uint32_t>(plain.rows),
                  static_cast<std::uint32_t>(plain.cols),
                  static_cast<std::uint32_t>(gates),
                  0,
                  {},
                  {},
                  {},
                  plain.scales};
    if (tiling.layout == Layout::dense) {
        packed.append_panels(plain, 0, plain.rows, consecutive(0, plain.cols));
        return packed;
    }
    if (tiling.layout == Layout::kept_rows) {
        Plain kept{{Layout::dense, tiling.number, 1, 1}, 0, plain.cols, {}, {}};
        for (std::size_t r = 0; r < plain.rows; ++r) {
            const auto row = plain.stored.begin() + static_cast<std::ptrdiff_t>(r * plain.cols);
            const auto end = row + static_cast<std::ptrdiff_t>(plain.cols);
            if (std::all_of(row, end, [](float weight) { return weight == 0.0f; }))
                continue;
            kept.stored.insert(kept.stored.end(), row, end);
            if (!plain.scales.empty())
                kept.scales.push_back(plain.scales[r]);
            packed.index.push_back(static_cast<std::uint16_t>(r));
            ++kept.rows;
        }
        packed.counts = {static_cast<std::uint32_t>(kept.rows)};
        packed.scales = kept.scales;
        packed.append_panels(kept, 0, kept.rows, consecutive(0, kept.cols));
        return packed;
    }
    const std::size_t gate_rows = plain.rows / gates, height = tiling.height(gate_rows), width = tiling.tile_cols;
    for (std::size_t begin = 0; begin < plain.rows; begin += gate_rows) {
        const std::size_t end = begin + gate_rows;
        for (std::size_t row = begin; row < end; row += height) {
            const auto holds_weights = [&](std::size_t column) {
                for (std::size_t r = row; r < std::min(row + height, end); ++r) {
                    for (std::size_t c = column; c < std::min(column + width, plain.cols); ++c) {
                        if (plain.stored[r * plain.cols + c] != 0.0f)
                            return true;
                    }
                }
                return false;
            };
            std::vector<std::size_t> kept; // first columns of tiles
            for (std::size_t c = 0; c < plain.cols; c += width) {
                if (holds_weights(c))
                    kept.push_back(c);
            }
            packed.counts.push_back(static_cast<std::uint32_t>(kept.size()));
            packed.index.insert(packed.index.end(), kept.begin(), kept.end());
            if (tiling.layout == Layout::compact) {
                packed.append_panels(plain, row, end, kept);
            } else if (width == 1) {
                packed.append_chunks(plain, row, height, end, kept);
            } else {
                for (const std::size_t c : kept)
                    packed.append_chunks(plain, row, height, end, consecutive(c, width));
            }
        }
    }
    return packed;
}

} // namespace lanewise::test
