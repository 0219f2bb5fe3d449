// A weight matrix (rows, cols) in the layout that its kernel reads, and the rules that a layout must satisfy.
//
// Weights lie in order of use, in *chunks* of K columns, K being what one lane of a dot product takes: 1 in f32, 2 in
// bf16, 4 in int8. A chunk of G rows holds row after row, K weights each. Layouts (R = rows of one gate):
//   dense      panels of 64 rows, then panels of 16 (the last one zero-padded); within a panel chunk by chunk, the last
//              one zero-padded.
//   row_group  tiles G x c. Per gate ceil(R / G) strips of G rows (the last zero-padded); a strip stores its kept tiles
//              in order: index = first column, then chunks of G rows, c columns in all (zero-padded at the right
//              border). Tiles G x 1 share chunks: K kept columns lie in each, the strip's last one zero-padded.
//              counts: kept tiles per strip.
//   dot_group  f32 tiles 1 x G (G = 1: single weights). Per row its kept tiles in order: index = first column, then G
//              weights each (zero-padded at the right border). counts: kept tiles per row.
//   compact    f32 whole columns, per gate (one gate: over all rows). Per gate its kept columns: index = column, and a
//              dense matrix (R, kept) in the dense layout. counts: kept columns per gate.
//   kept_rows  whole rows, whatever their gate: index = row, and a dense matrix (kept, cols) in the dense layout; int8
//              has scales for these rows only. counts: kept rows, one entry.
//
// Numbers: bf16 is the upper half of an f32; int8 is in [-127, 127] and stands for itself times the scale of its row.
#pragma once

#include "aligned.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace lanewise {

enum class Layout : std::uint32_t { dense, row_group, dot_group, compact, kept_rows };
enum class Number : std::uint32_t { f32, bf16, int8 };
// Throw Error if the name is none of these.
Layout parse_layout(const std::string& name);
Number parse_number(const std::string& name);
const char* number_name(Number number);

// Bytes of a weight, and K: columns of a chunk. Their product is a 32-bit lane.
constexpr std::size_t number_bytes(Number number) {
    return number == Number::f32 ? 4 : number == Number::bf16 ? 2 : 1;
}
constexpr std::size_t chunk_columns(Number number) {
    return 4 / number_bytes(number);
}

constexpr std::size_t kPanelRows = 64;
constexpr std::size_t kSmallPanelRows = 16;
constexpr std::size_t kMaxExtent = 65536; // of rows and of columns: an index is 16 bits wide
constexpr std::size_t kInputPadding = 64; // readable zero floats that every kernel may expect behind its input
constexpr std::size_t kReadAhead = 256;   // zero bytes behind weights and indices that kernels may read

// What a kernel sees: plain pointers into aligned memory.
struct MatrixView {
    Layout layout;
    Number number;
    std::uint32_t tile_rows, tile_cols; // 1 x 1 where the layout has no tiles
    std::uint32_t rows, cols, gates;
    const void* weights;
    std::size_t weight_bytes;
    const std::uint16_t* index;
    const std::uint32_t* counts;
    const float* scales;         // int8: (stored rows)
    const std::int32_t* offsets; // the same: 128 times the sum of the row, what inputs stored as u8 = s8 + 128 add

    const float* floats() const { return static_cast<const float*>(weights); }
};

// The parts of a matrix in plain memory, to be checked and copied; sizes count elements.
struct MatrixParts {
    const void* weights;
    std::size_t n_weights;
    const std::uint16_t* index;
    std::size_t n_index;
    const std::uint32_t* counts;
    std::size_t n_counts;
    const float* scales;
    std::size_t n_scales;
};

// Weights of a dense layout of (rows, cols).
std::size_t dense_weights(std::size_t rows, std::size_t cols, Number number = Number::f32);

// Rows whose weights are stored, which is all of them but for kept_rows.
std::size_t stored_rows(const MatrixView& m);
// The rows that a kept_rows layout stores, as the dense matrix that they are.
MatrixView kept_rows(const MatrixView& m);

// Entries of `counts` that a layout needs.
std::size_t count_entries(const MatrixView& m);

class Matrix {
public:
    Matrix() = default;
    // Copies the parts; throws Error (message starts with `name`) unless they make a valid matrix of this shape.
    Matrix(const std::string& name, const MatrixView& shape, const MatrixParts& parts);

    const MatrixView& view() const { return view_; }
    std::size_t bytes() const;
    // Reads every byte that a product reads, with the ISA's widest loads (the "read limit"); returns their OR.
    std::uint64_t read(std::uint64_t (*reader)(const void*, std::size_t)) const;

private:
    void sum_rows();

    MatrixView view_{};
    std::size_t index_bytes_ = 0;
    Aligned<unsigned char> weights_;
    Aligned<std::uint16_t> index_;
    Aligned<std::uint32_t> counts_;
    Aligned<float> scales_;
    Aligned<std::int32_t> offsets_;
};

} // namespace lanewise
