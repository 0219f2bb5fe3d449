// Edits of a packed model's bytes that leave size and checksum right.
#pragma once

#include "model.hpp"

namespace lanewise::test {

// Where the value of the last key starts, each key being searched behind the one before it. Names, too, are found so.
inline std::size_t find(const std::string& file, const std::vector<std::string>& path) {
    std::size_t at = kPrefixBytes;
    for (const std::string& key : path) {
        at = file.find('"' + key + '"', at);
        CHECK(at != std::string::npos, key);
        at += key.size() + 3;
    }
    return at;
}
inline std::size_t number(const std::string& file, const std::vector<std::string>& path) {
    return std::stoull(file.substr(find(file, path)));
}

// Replaces a value of the header; the blobs stay where they are.
inline void set(std::string& file, const std::vector<std::string>& path, const std::string& value) {
    const std::size_t at = find(file, path);
    const std::size_t size = file.find_first_of(",}", at) - at;
    std::uint32_t header_bytes;
    std::memcpy(&header_bytes, file.data() + 12, sizeof header_bytes);
    std::string header = file.substr(kPrefixBytes, header_bytes);
    header.replace(at - kPrefixBytes, size, value);
    CHECK(header.find_last_not_of(' ') < header_bytes, value);
    header.resize(header_bytes, ' ');
    file.replace(kPrefixBytes, header_bytes, header);
    sign(file);
}

template <typename T> void set_blob(std::string& file, const std::string& name, const char* blob, T value) {
    put(file, number(file, {name, blob, "offset"}), value);
    sign(file);
}

} // namespace lanewise::test
