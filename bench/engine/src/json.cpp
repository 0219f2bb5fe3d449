#include "json.hpp"

#include "error.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace lanewise {

class JsonReader {
public:
    explicit JsonReader(std::string_view text) : text_(text) {}

    Json document() {
        Json value = read(0);
        skip_space();
        require(at_ == text_.size(), "text after its end");
        return value;
    }

private:
    static constexpr int kMaxDepth = 32;

    void require(bool good, const char* what) const {
        if (!good)
            throw Error("header is not valid JSON (" + std::string(what) + " at byte " + std::to_string(at_) + ")");
    }
    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
            ++at_;
    }
    bool accept(char c) {
        skip_space();
        if (at_ >= text_.size() || text_[at_] != c)
            return false;
        ++at_;
        return true;
    }
    bool accept_word(std::string_view word) {
        if (text_.substr(at_, word.size()) != word)
            return false;
        at_ += word.size();
        return true;
    }

    Json read(int depth) {
        require(depth < kMaxDepth, "nested too deeply");
        skip_space();
        require(at_ < text_.size(), "ends early");
        Json value;
        switch (text_[at_]) {
        case '{':
            read_object(value, depth);
            break;
        case '[':
            read_array(value, depth);
            break;
        case '"':
            value.kind_ = Json::Kind::string;
            value.string_ = read_string();
            break;
        case 't':
        case 'f':
            value.kind_ = Json::Kind::boolean;
            require(accept_word(text_[at_] == 't' ? "true" : "false"), "unknown word");
            break;
        case 'n':
            require(accept_word("null"), "unknown word");
            break;
        default:
            read_number(value);
        }
        return value;
    }

    void read_object(Json& value, int depth) {
        value.kind_ = Json::Kind::object;
        ++at_;
        if (accept('}'))
            return;
        do {
            skip_space();
            require(at_ < text_.size() && text_[at_] == '"', "expected a key");
            std::string key = read_string();
            require(accept(':'), "expected ':'");
            const bool fresh = value.members_.emplace(std::move(key), read(depth + 1)).second;
            require(fresh, "key given twice");
        } while (accept(','));
        require(accept('}'), "expected '}'");
    }

    void read_array(Json& value, int depth) {
        value.kind_ = Json::Kind::array;
        ++at_;
        if (accept(']'))
            return;
        do
            value.items_.push_back(read(depth + 1));
        while (accept(','));
        require(accept(']'), "expected ']'");
    }

    std::string read_string() {
        std::string out;
        ++at_;
        for (;;) {
            require(at_ < text_.size(), "string without end");
            const char c = text_[at_++];
            if (c == '"')
                return out;
            require(c >= 0x20 && c < 0x7f, "character in a string that is not printable ASCII");
            if (c != '\\') {
                out += c;
                continue;
            }
            require(at_ < text_.size(), "string without end");
            const char escaped = text_[at_++];
            constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
            const auto known = kFrom.find(escaped);
            // The packer writes ASCII keys and names only, so \uXXXX never occurs in what the engine reads.
            require(known != std::string_view::npos, "escape that the packer never writes");
            out += kTo[known];
        }
    }

    // Not strtod: it reads what the program's locale writes, such as a comma for the point.
    void read_number(Json& value) {
        const char* end = text_.data() + std::min(text_.find_first_not_of("+-.0123456789eE", at_), text_.size());
        value.kind_ = Json::Kind::number;
        const auto [stopped, error] = std::from_chars(text_.data() + at_, end, value.number_);
        require(error == std::errc() && stopped == end, "bad number");
        at_ = static_cast<std::size_t>(end - text_.data());
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

Json Json::parse(std::string_view text) {
    return JsonReader(text).document();
}

const Json* Json::find(const std::string& key) const {
    const auto found = members_.find(key);
    return found == members_.end() ? nullptr : &found->second;
}

const Json& Json::at(const std::string& key) const {
    const Json* found = find(key);
    if (!found)
        throw Error("header has no '" + key + "'");
    return *found;
}

std::uint64_t Json::whole(const std::string& key, std::uint64_t least, std::uint64_t most) const {
    const Json& value = at(key);
    const double number = value.number_;
    if (value.kind_ != Kind::number || number != std::floor(number) || number < static_cast<double>(least) ||
        number > static_cast<double>(most)) {
        const bool small = value.kind_ == Kind::number && number == std::floor(number) && std::abs(number) < 1e15;
        throw Error("header: '" + key + "' must be a whole number from " + std::to_string(least) + " to " +
                    std::to_string(most) + (small ? ", not " + std::to_string(static_cast<long long>(number)) : ""));
    }
    return static_cast<std::uint64_t>(number);
}

double Json::number(const std::string& key, double least, double most) const {
    const Json& value = at(key);
    if (value.kind_ != Kind::number || !(value.number_ >= least && value.number_ <= most)) {
        throw Error("header: '" + key + "' must be a number from " + std::to_string(least) + " to " +
                    std::to_string(most));
    }
    return value.number_;
}

const std::string& Json::string(const std::string& key) const {
    const Json& value = at(key);
    if (value.kind_ != Kind::string)
        throw Error("header: '" + key + "' must be a string");
    return value.string_;
}

const std::vector<Json>& Json::array(const std::string& key) const {
    const Json& value = at(key);
    if (value.kind_ != Kind::array)
        throw Error("header: '" + key + "' must be a list");
    return value.items_;
}

} // namespace lanewise
