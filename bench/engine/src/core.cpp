// Nothing else belongs here: tests of the kernels leave this file out and say themselves which core is at hand.
#include "core.hpp"

#ifdef LANEWISE_X86
#include <cpuid.h>
#endif

namespace lanewise {

namespace {

bool is_zen_4_or_3() {
#ifdef LANEWISE_X86
    static const bool found = [] {
        unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
        __get_cpuid(0, &eax, &ebx, &ecx, &edx);
        const bool is_amd = ebx == signature_AMD_ebx;
        __get_cpuid(1, &eax, &ebx, &ecx, &edx);
        return is_amd && ((eax >> 8) & 0xf) + ((eax >> 20) & 0xff) == 0x19;
    }();
    return found;
#else
    return false;
#endif
}

} // namespace

Ahead ahead_beyond_l2() {
    return is_zen_4_or_3() ? Ahead::two_lines : Ahead::far;
}

bool halves_512_bits() {
    return is_zen_4_or_3();
}

} // namespace lanewise
