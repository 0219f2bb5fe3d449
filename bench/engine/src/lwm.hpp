// Reader of packed models (*.lwm), which bench/engine/pack.py writes. Little-endian throughout:
//   0  magic "LANEWISE"        8  u32 version   12  u32 bytes of header
//   16 u64 bytes of file      24  u64 checksum  32  header (JSON), blobs aligned to 64 bytes
// The checksum is FNV-1a (64 bit) of the whole file, its own eight bytes left out. The header is an object:
//   task    "enhancer" of one; a vocoder's header has none
//   arch    what the packer was told of the model (returned to the user, not read here)
//   dims    numbers, see vocoder.cpp and enhancer.cpp
// Of vocoders:
//   tables  number format of the embedding tables that loading makes
//   delta   threshold of the GRU's recurrent product, see delta.hpp; missing where every column is read at every step
// Of both:
//   vectors [{name, size, offset}]: f32 arrays; gru.skip.weight and gru.skip.bias where there are skip gates, see
//           skip.hpp
//   matrices [{name, tile, runs_as, layout, number, tile_rows, tile_cols, rows, cols, gates, blocks, nonzeros,
//              weights: {offset, size}, index: ..., counts: ..., scales: ...}], see matrix.hpp; tile is what
//              it was pruned by and blocks counts, runs_as the tile that it is stored as (neither is read here)
// Sizes count elements, offsets bytes from the start of the file.
#pragma once

#include "error.hpp"
#include "json.hpp"
#include "mapped_file.hpp"
#include "matrix.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lanewise {

constexpr char kMagic[9] = "LANEWISE";
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kPrefixBytes = 32;
// Far above any model's; they bound what a hostile file can make the reader allocate.
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 32;
constexpr std::uint32_t kMaxHeaderBytes = 1 << 18;

std::uint64_t checksum(const unsigned char* file, std::size_t bytes);

class PackedFile {
public:
    // Reads and verifies the file; throws Error naming it and what is wrong. No byte outside it is ever read.
    explicit PackedFile(const std::string& path);

    std::string_view header_text() const { return header_text_; }
    const Json& header() const { return header_; }
    // "vocoder" or "enhancer"; throws Error if it is for anything else.
    std::string task() const;

    // f32 array of exactly `size` finite numbers.
    Aligned<float> vector(const std::string& name, std::size_t size) const;
    bool has_vector(const std::string& name) const;
    Matrix matrix(const std::string& name, std::size_t rows, std::size_t cols, std::size_t gates) const;

private:
    const Json& entry(const std::string& list, const std::string& name) const;
    template <typename T> struct Blob {
        const T* data;
        std::size_t size;
    };
    // The elements that {offset, size} names; throws unless they lie inside the file, aligned.
    template <typename T> Blob<T> blob(const std::string& name, const Json& where) const;

    MappedFile bytes_;
    std::string_view header_text_;
    Json header_;
};

// Opens a file and calls load(it); what goes wrong is thrown as an Error that names the file.
template <typename Load> void load_named(const std::string& path, Load load) {
    try {
        const PackedFile file(path);
        try {
            load(file);
        } catch (const Error& error) {
            throw Error(path + ": " + error.what());
        }
    } catch (const std::bad_alloc&) {
        throw Error(path + ": needs more memory than this host has");
    }
}

} // namespace lanewise
