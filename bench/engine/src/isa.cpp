#include "isa.hpp"

#include "error.hpp"

#if defined(LANEWISE_ARM64) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace lanewise {

namespace scalar {
extern const Kernels kernels;
}
#ifdef LANEWISE_X86
namespace sse42 {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace avx512vnni {
extern const Kernels kernels;
}
#endif
#ifdef LANEWISE_ARM64
namespace neon {
extern const Kernels kernels;
}
namespace neondot {
extern const Kernels kernels;
}
#endif

const std::vector<Isa>& built_isas() {
    static const std::vector<Isa> isas{
        {"scalar", &scalar::kernels},
#ifdef LANEWISE_X86
        {"sse4.2", &sse42::kernels},  {"avx2", &avx2::kernels},
        {"avx512", &avx512::kernels}, {"avx512vnni", &avx512vnni::kernels},
#endif
#ifdef LANEWISE_ARM64
        {"neon", &neon::kernels},     {"neon-dot", &neondot::kernels},
#endif
    };
    return isas;
}

namespace {

bool runs_here([[maybe_unused]] const std::string& isa) {
#ifdef LANEWISE_X86
    __builtin_cpu_init();
    if (isa == "sse4.2")
        return __builtin_cpu_supports("sse4.2");
    if (isa == "avx2")
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa == "avx512") {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    }
    if (isa == "avx512vnni") {
        return runs_here("avx512") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
               __builtin_cpu_supports("avx512vbmi");
    }
#endif
#ifdef LANEWISE_ARM64
    if (isa == "neon-dot") {
#ifdef __linux__
        constexpr unsigned long kDotProduct = 1 << 20; // HWCAP_ASIMDDP
        return getauxval(AT_HWCAP) & kDotProduct;
#else
        return false;
#endif
    }
#endif
    return true; // scalar; and every 64-bit Arm core has NEON
}

} // namespace

const std::vector<Isa>& host_isas() {
    static const std::vector<Isa> isas = [] {
        std::vector<Isa> found;
        for (const Isa& isa : built_isas()) {
            if (runs_here(isa.name))
                found.push_back(isa);
        }
        return found;
    }();
    return isas;
}

const Isa& find_isa(const std::string& name) {
    std::string have;
    for (const Isa& isa : host_isas()) {
        if (name == isa.name)
            return isa;
        have += have.empty() ? isa.name : std::string(", ") + isa.name;
    }
    throw Error("ISA '" + name + "' cannot run on this host; it has: " + have);
}

} // namespace lanewise
