#include "lwm.hpp"

#include "error.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace lanewise {

namespace {

static_assert(std::endian::native == std::endian::little, "packed models are little-endian and read as they are");

template <typename T> T read_at(const unsigned char* bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes + offset, sizeof value);
    return value;
}

void require_finite(const std::string& name, const float* values, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
        if (!std::isfinite(values[i]))
            throw Error(name + ": holds NaN or infinite numbers");
    }
}

} // namespace

std::uint64_t checksum(const unsigned char* file, std::size_t bytes) {
    constexpr std::size_t kFrom = 24, kTo = 32;
    std::uint64_t hash = 0xcbf29ce484222325;
    for (std::size_t i = 0; i < bytes; ++i) {
        if (i >= kFrom && i < kTo)
            continue;
        hash = (hash ^ file[i]) * 0x100000001b3;
    }
    return hash;
}

PackedFile::PackedFile(const std::string& path) : bytes_(path) {
    const auto require = [&path](bool good, const std::string& what) {
        if (!good)
            throw Error(path + ": " + what);
    };
    const std::uint64_t size = bytes_.size();
    require(size >= kPrefixBytes && std::memcmp(bytes_.data(), kMagic, 8) == 0,
            "is not a packed model (no LANEWISE mark at its start); make one with `lanewise pack`");
    const auto version = read_at<std::uint32_t>(bytes_.data(), 8);
    require(version == kVersion, "has format version " + std::to_string(version) + ", this engine reads " +
                                     std::to_string(kVersion) + "; pack the model again");
    const auto declared = read_at<std::uint64_t>(bytes_.data(), 16);
    require(declared == size, "is truncated or has been appended to: " + std::to_string(size) + " bytes, " +
                                  std::to_string(declared) + " expected; pack or copy it again");
    require(size <= kMaxFileBytes, "is larger than any packed model (" + std::to_string(kMaxFileBytes) + " bytes)");
    require(checksum(bytes_.data(), bytes_.size()) == read_at<std::uint64_t>(bytes_.data(), 24),
            "has been altered since it was packed (wrong checksum); pack or copy it again");
    const auto header_bytes = read_at<std::uint32_t>(bytes_.data(), 12);
    require(header_bytes <= bytes_.size() - kPrefixBytes, "header is larger than the file");
    require(header_bytes <= kMaxHeaderBytes,
            "header is larger than any model's (" + std::to_string(kMaxHeaderBytes) + " bytes)");
    header_text_ = {reinterpret_cast<const char*>(bytes_.data()) + kPrefixBytes, header_bytes};
    try {
        header_ = Json::parse(header_text_);
    } catch (const Error& error) {
        throw Error(path + ": " + error.what());
    }
}

std::string PackedFile::task() const {
    const std::string task = header_.find("task") ? header_.string("task") : "vocoder";
    if (task != "vocoder" && task != "enhancer") // not quoted: it may be any bytes of a damaged file
        throw Error("header: task is neither vocoder nor enhancer; a newer Lanewise may have packed it");
    return task;
}

const Json& PackedFile::entry(const std::string& list, const std::string& name) const {
    for (const Json& item : header_.array(list)) {
        if (item.string("name") == name)
            return item;
    }
    throw Error("has no '" + name + "' among its " + list);
}

bool PackedFile::has_vector(const std::string& name) const {
    const std::vector<Json>& items = header_.array("vectors");
    return std::any_of(items.begin(), items.end(), [&](const Json& item) { return item.string("name") == name; });
}

template <typename T> PackedFile::Blob<T> PackedFile::blob(const std::string& name, const Json& where) const {
    const std::uint64_t bytes = bytes_.size();
    const std::uint64_t size = where.whole("size", 0, kMaxFileBytes);
    const std::uint64_t offset = where.whole("offset", 0, kMaxFileBytes);
    if (offset % kAlignment || offset > bytes || size > (bytes - offset) / sizeof(T)) {
        throw Error("'" + name + "' lies outside the file");
    }
    // The file is aligned to a page, and every offset to kAlignment.
    return {reinterpret_cast<const T*>(bytes_.data() + offset), static_cast<std::size_t>(size)};
}

Aligned<float> PackedFile::vector(const std::string& name, std::size_t size) const {
    const Json& at = entry("vectors", name);
    const auto values = blob<float>(name, at);
    if (values.size != size) {
        throw Error("'" + name + "' has " + std::to_string(values.size) + " numbers, expected " + std::to_string(size));
    }
    require_finite(name, values.data, size);
    return {values.data, size};
}

Matrix PackedFile::matrix(const std::string& name, std::size_t rows, std::size_t cols, std::size_t gates) const {
    const Json& at = entry("matrices", name);
    MatrixView shape{};
    shape.layout = parse_layout(at.string("layout"));
    shape.number = parse_number(at.string("number"));
    shape.tile_rows = static_cast<std::uint32_t>(at.whole("tile_rows", 1, 64));
    shape.tile_cols = static_cast<std::uint32_t>(at.whole("tile_cols", 1, 64));
    shape.rows = static_cast<std::uint32_t>(at.whole("rows", 1, kMaxExtent));
    shape.cols = static_cast<std::uint32_t>(at.whole("cols", 1, kMaxExtent));
    shape.gates = static_cast<std::uint32_t>(at.whole("gates", 1, kMaxExtent));
    if (shape.rows != rows || shape.cols != cols) {
        throw Error("'" + name + "' is " + std::to_string(shape.rows) + " x " + std::to_string(shape.cols) +
                    ", expected " + std::to_string(rows) + " x " + std::to_string(cols));
    }
    if (shape.gates != gates && shape.gates != 1) {
        throw Error("'" + name + "' has " + std::to_string(shape.gates) + " gates, expected " +
                    (gates == 1 ? "" : std::to_string(gates) + " or ") + "1");
    }
    const Json& weights = at.at("weights");
    const auto index = blob<std::uint16_t>(name, at.at("index"));
    const auto counts = blob<std::uint32_t>(name, at.at("counts"));
    const auto scales = blob<float>(name, at.at("scales"));
    MatrixParts parts{nullptr, 0, index.data, index.size, counts.data, counts.size, scales.data, scales.size};
    const auto take = [&parts](const auto& stored) {
        parts.weights = stored.data;
        parts.n_weights = stored.size;
    };
    if (shape.number == Number::f32)
        take(blob<float>(name, weights));
    else if (shape.number == Number::bf16)
        take(blob<std::uint16_t>(name, weights));
    else
        take(blob<std::int8_t>(name, weights));
    return {name, shape, parts};
}

} // namespace lanewise
