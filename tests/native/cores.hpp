// Every kind of core in turn, whatever this host is: kernels choose their code by core.hpp, of which a host would only
// ever test its own half. These definitions stand in for core.cpp, which then is not linked.
#pragma once

#include "core.hpp"
#include "isa.hpp"

namespace lanewise {
namespace test {

struct Core {
    const char* name;
    Ahead ahead_beyond_l2;
    bool halves_512_bits;
};
constexpr Core kCores[] = {{"Zen 4", Ahead::two_lines, true}, {"Zen 5", Ahead::far, false}};
inline const Core* core = kCores;

// Calls body(isa, where) for every ISA of this host as every core would run it.
template <typename Body> void for_isas(Body body) {
    for (const Core& each : kCores) {
        core = &each;
        for (const Isa& isa : host_isas())
            body(isa, isa.name + std::string(" as on ") + each.name);
    }
}

} // namespace test

Ahead ahead_beyond_l2() {
    return test::core->ahead_beyond_l2;
}
bool halves_512_bits() {
    return test::core->halves_512_bits;
}

} // namespace lanewise
