// A small JSON reader (RFC 8259) for the header of a packed model, which is ASCII; bounded depth. Of what JSON forbids,
// only leading zeros and numbers that begin or end with the point are let pass.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lanewise {

class Json {
public:
    // Throws Error on anything that is not one JSON document.
    static Json parse(std::string_view text);

    // Each throws Error, naming the key, when the member is missing or of another kind.
    const Json& at(const std::string& key) const;
    const Json* find(const std::string& key) const;
    std::uint64_t whole(const std::string& key, std::uint64_t least, std::uint64_t most) const;
    double number(const std::string& key, double least, double most) const;
    const std::string& string(const std::string& key) const;
    const std::vector<Json>& array(const std::string& key) const;

private:
    friend class JsonReader;
    enum class Kind { null, boolean, number, string, array, object };
    Kind kind_ = Kind::null;
    double number_ = 0;
    std::string string_;
    std::vector<Json> items_;
    std::map<std::string, Json> members_;
};

} // namespace lanewise
