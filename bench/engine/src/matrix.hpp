// A weight matrix (rows, cols) in the layout that its kernel reads, and the rules that a layout must satisfy.
//
// Weights lie in order of use. Layouts (R = rows of one gate):
//   dense      panels of 64 rows, then panels of 16 (the last one zero-padded); within a panel column by column.
//   row_group  tiles G x 1. Per gate ceil(R / G) strips of G rows (the last zero-padded); a strip stores its kept
//              columns in order: index = column, then G weights each. counts: kept columns per strip.
//   dot_group  tiles 1 x G (G = 1: single weights). Per row its kept tiles in order: index = first column, then G
//              weights each (zero-padded at the right border). counts: kept tiles per row.
//   compact    whole columns, per gate (one gate: over all rows). Per gate its kept columns: index = column, and a
//   dense
//              matrix (R, kept) in the dense layout. counts: kept columns per gate.
#pragma once

#include "aligned.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace lanewise {

enum class Format : std::uint32_t { dense, row_group, dot_group, compact };
// Throws Error if the name is none of these.
Format parse_format(const std::string& name);

constexpr std::size_t kPanelRows = 64;
constexpr std::size_t kSmallPanelRows = 16;
constexpr std::size_t kMaxExtent = 65536; // of rows and of columns: an index is 16 bits wide
constexpr std::size_t kInputPadding = 64; // readable zero floats that every kernel may expect behind its input

// What a kernel sees: plain pointers into aligned memory.
struct MatrixView {
    Format format;
    std::uint32_t group; // G; 1 where the format has none
    std::uint32_t rows, cols, gates;
    const float* weights;
    const std::uint16_t* index;
    const std::uint32_t* counts;
};

// Floats of a dense layout of (rows, cols).
std::size_t dense_floats(std::size_t rows, std::size_t cols);

// Entries of `counts` that a layout needs.
std::size_t count_entries(const MatrixView& m);

class Matrix {
public:
    Matrix() = default;
    // Copies the parts; throws Error (message starts with `name`) unless they make a valid matrix of this shape.
    Matrix(const std::string& name, MatrixView shape, const float* weights, std::size_t n_weights,
           const std::uint16_t* index, std::size_t n_index, const std::uint32_t* counts, std::size_t n_counts);

    const MatrixView& view() const { return view_; }
    std::size_t bytes() const { return bytes_; }
    // Reads every byte that a product reads, with the ISA's widest loads (the "read limit"); returns their OR.
    std::uint64_t read(std::uint64_t (*reader)(const void*, std::size_t)) const;

private:
    MatrixView view_{};
    Aligned<float> weights_;
    Aligned<std::uint16_t> index_;
    Aligned<std::uint32_t> counts_;
    std::size_t bytes_ = 0;
};

} // namespace lanewise
