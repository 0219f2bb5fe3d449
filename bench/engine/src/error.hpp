// The one exception of the core: a message that a user can act on.
#pragma once

#include <stdexcept>
#include <string>

namespace lanewise {

class Error : public std::runtime_error {
public:
    explicit Error(const std::string& message) : std::runtime_error(message) {}
};

} // namespace lanewise
