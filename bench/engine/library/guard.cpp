#include "guard.hpp"

#include "isa.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace lanewise {

std::string& last_error() {
    thread_local std::string error;
    return error;
}

std::string chosen_isa(const char* isa) {
    const auto automatic = [](const char* name) { return !name || !*name || std::string(name) == "auto"; };
    if (!automatic(isa))
        return isa;
    isa = std::getenv("LANEWISE_ISA");
    if (automatic(isa))
        return lanewise::host_isas().back().name;
    try {
        return lanewise::find_isa(isa).name;
    } catch (const Error& error) {
        throw Error(std::string("LANEWISE_ISA: ") + error.what());
    }
}

void require_given(bool given, const char* what) {
    if (!given)
        throw Error(std::string(what) + " is NULL");
}

void require_finite(const float* values, std::size_t size, const char* what) {
    if (!std::all_of(values, values + size, [](float value) { return std::isfinite(value); }))
        throw Error(std::string(what) + " holds NaN or infinite numbers");
}

} // namespace lanewise
