// What the functions of the C interface share: exceptions end in them, and their arguments are checked.
#pragma once

#include "error.hpp"

#include <cstddef>
#include <exception>
#include <new>
#include <string>

namespace lanewise {

// Why the last call on this thread failed.
std::string& last_error();

// What body() returns, or `failed` with the reason kept.
template <typename Result, typename Body> Result guarded(Result failed, Body body) noexcept {
    try {
        try {
            return body();
        } catch (const std::bad_alloc&) {
            last_error() = "needs more memory than this host has";
        } catch (const std::exception& error) {
            last_error() = error.what();
        }
    } catch (...) { // no memory even for the message: the last one stands
    }
    return failed;
}

// The ISA asked for; for none or "auto" that of LANEWISE_ISA, else the host's best.
std::string chosen_isa(const char* isa);

// Throw Error naming what it is.
void require_given(bool given, const char* what);
void require_finite(const float* values, std::size_t size, const char* what);

} // namespace lanewise
