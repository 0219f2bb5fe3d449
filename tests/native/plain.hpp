// Plain weight matrices and a packer for them (f32, tiles of one row or one column), written from the layouts'
// description in matrix.hpp alone.
#pragma once

#include "check.hpp"
#include "matrix.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace lanewise::test {

struct Tiling {
    const char* name_; // of the layout
    Layout layout;
    std::uint32_t group;

    std::uint32_t tile_rows() const { return layout == Layout::row_group ? group : 1; }
    std::uint32_t tile_cols() const { return layout == Layout::dot_group ? group : 1; }
    MatrixView view(std::size_t rows, std::size_t cols, std::size_t gates) const {
        MatrixView view{};
        view.layout = layout, view.number = Number::f32, view.tile_rows = tile_rows(), view.tile_cols = tile_cols();
        view.rows = static_cast<std::uint32_t>(rows), view.cols = static_cast<std::uint32_t>(cols);
        view.gates = static_cast<std::uint32_t>(gates);
        return view;
    }
    std::string name() const { return name_ + std::string(" ") + std::to_string(group); }
};

// Every layout that has kernels; test_kernels.cpp fails when one of the engine's is missing here.
inline constexpr Tiling kTilings[] = {
    {"dense", Layout::dense, 1},          {"compact", Layout::compact, 1},      {"row_group", Layout::row_group, 4},
    {"row_group", Layout::row_group, 8},  {"row_group", Layout::row_group, 16}, {"row_group", Layout::row_group, 32},
    {"dot_group", Layout::dot_group, 1},  {"dot_group", Layout::dot_group, 4},  {"dot_group", Layout::dot_group, 8},
    {"dot_group", Layout::dot_group, 16},
};

struct Plain {
    std::size_t rows, cols;
    std::vector<float> weights; // row by row

    float at(std::size_t row, std::size_t col) const { return weights[row * cols + col]; }
    // W x, the slow and obviously right way.
    std::vector<double> operator()(const std::vector<double>& x) const {
        std::vector<double> y(rows, 0.0);
        for (std::size_t r = 0; r < rows; ++r) {
            for (std::size_t c = 0; c < cols; ++c)
                y[r] += static_cast<double>(at(r, c)) * x[c];
        }
        return y;
    }
};

// Normal weights; each tile is kept with this probability (1 for dense), gate by gate.
inline Plain random_plain(Rng& rng, const Tiling& tiling, std::size_t rows, std::size_t cols, std::size_t gates,
                          double kept, double spread = 1.0) {
    Plain plain{rows, cols, normal(rng, rows * cols, spread)};
    if (tiling.layout == Layout::dense)
        return plain;
    const std::size_t gate_rows = rows / gates;
    const std::size_t height = tiling.layout == Layout::compact ? gate_rows : tiling.tile_rows();
    const std::size_t width = tiling.tile_cols();
    std::bernoulli_distribution keep(kept);
    for (std::size_t gate = 0; gate < gates; ++gate) {
        for (std::size_t r = 0; r < gate_rows; r += height) {
            for (std::size_t c = 0; c < cols; c += width) {
                if (keep(rng))
                    continue;
                for (std::size_t i = r; i < std::min(r + height, gate_rows); ++i) {
                    for (std::size_t k = c; k < std::min(c + width, cols); ++k)
                        plain.weights[(gate * gate_rows + i) * cols + k] = 0.0f;
                }
            }
        }
    }
    return plain;
}

struct Packed {
    Tiling tiling;
    std::uint32_t rows, cols, gates;
    std::vector<float> weights;
    std::vector<std::uint16_t> index;
    std::vector<std::uint32_t> counts;

    Matrix matrix() const {
        return {"matrix",
                tiling.view(rows, cols, gates),
                {weights.data(), weights.size(), index.data(), index.size(), counts.data(), counts.size(), nullptr, 0}};
    }
};

// Appends rows `from` to `to` of the given columns in the dense layout.
inline void append_dense(std::vector<float>& out, const Plain& plain, std::size_t from, std::size_t to,
                         const std::vector<std::size_t>& columns) {
    while (from < to) {
        const std::size_t height = to - from >= kPanelRows ? kPanelRows : kSmallPanelRows;
        for (const std::size_t c : columns) {
            for (std::size_t i = 0; i < height; ++i)
                out.push_back(from + i < to ? plain.at(from + i, c) : 0.0f);
        }
        from += height;
    }
}

inline Packed pack(const Plain& plain, const Tiling& tiling, std::size_t gates) {
    Packed packed{tiling,
                  static_cast<std::uint32_t>(plain.rows),
                  static_cast<std::uint32_t>(plain.cols),
                  static_cast<std::uint32_t>(gates),
                  {},
                  {},
                  {}};
    const std::size_t gate_rows = plain.rows / gates;
    // Appends the kept ones of the height x width tiles in one line of rows from `row`, within `end`.
    const auto append_line = [&](std::size_t row, std::size_t end, std::size_t height, std::size_t width) {
        packed.counts.push_back(0);
        for (std::size_t c = 0; c < plain.cols; c += width) {
            std::vector<float> tile;
            for (std::size_t r = row; r < row + height; ++r) {
                for (std::size_t k = c; k < c + width; ++k)
                    tile.push_back(r < end && k < plain.cols ? plain.at(r, k) : 0.0f);
            }
            if (std::all_of(tile.begin(), tile.end(), [](float w) { return w == 0.0f; }))
                continue;
            ++packed.counts.back();
            packed.index.push_back(static_cast<std::uint16_t>(c));
            packed.weights.insert(packed.weights.end(), tile.begin(), tile.end());
        }
    };
    std::vector<std::size_t> every(plain.cols);
    for (std::size_t c = 0; c < plain.cols; ++c)
        every[c] = c;
    if (tiling.layout == Layout::dense) {
        append_dense(packed.weights, plain, 0, plain.rows, every);
        return packed;
    }
    for (std::size_t begin = 0; begin < plain.rows; begin += gate_rows) {
        const std::size_t end = begin + gate_rows;
        if (tiling.layout == Layout::compact) {
            std::vector<std::size_t> kept;
            std::copy_if(every.begin(), every.end(), std::back_inserter(kept), [&](std::size_t c) {
                for (std::size_t r = begin; r < end; ++r) {
                    if (plain.at(r, c) != 0.0f)
                        return true;
                }
                return false;
            });
            packed.counts.push_back(static_cast<std::uint32_t>(kept.size()));
            packed.index.insert(packed.index.end(), kept.begin(), kept.end());
            append_dense(packed.weights, plain, begin, end, kept);
            continue;
        }
        for (std::size_t row = begin; row < end; row += tiling.tile_rows())
            append_line(row, end, tiling.tile_rows(), tiling.tile_cols());
    }
    return packed;
}

} // namespace lanewise::test
