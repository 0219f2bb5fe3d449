#include "isa.hpp"

#include "error.hpp"

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
#endif
#ifdef LANEWISE_ARM64
namespace neon {
extern const Kernels kernels;
}
#endif

const std::vector<Isa>& host_isas() {
    static const std::vector<Isa> isas = [] {
        std::vector<Isa> found{{"scalar", 1, &scalar::kernels}};
#ifdef LANEWISE_X86
        __builtin_cpu_init();
        if (__builtin_cpu_supports("sse4.2"))
            found.push_back({"sse4.2", 4, &sse42::kernels});
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            found.push_back({"avx2", 8, &avx2::kernels});
        }
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
            found.push_back({"avx512", 16, &avx512::kernels});
        }
#endif
#ifdef LANEWISE_ARM64
        found.push_back({"neon", 4, &neon::kernels}); // every 64-bit Arm core has it
#endif
        return found;
    }();
    return isas;
}

const std::vector<std::string>& built_isas() {
#ifdef LANEWISE_X86
    static const std::vector<std::string> names{"scalar", "sse4.2", "avx2", "avx512"};
#elif defined(LANEWISE_ARM64)
    static const std::vector<std::string> names{"scalar", "neon"};
#else
    static const std::vector<std::string> names{"scalar"};
#endif
    return names;
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
