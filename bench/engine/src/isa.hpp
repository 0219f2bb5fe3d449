// Instruction sets that kernels are compiled for, and which of them this host can run.
#pragma once

#include "kernels.hpp"

#include <string>
#include <vector>

namespace lanewise {

struct Isa {
    const char* name;
    int lanes; // f32 lanes of its vectors
    const Kernels* kernels;
};

// Runnable here, narrowest first; "scalar" is always there.
const std::vector<Isa>& host_isas();

// Every ISA in this build, whether or not this host runs it.
const std::vector<std::string>& built_isas();

// Throws Error if the host (or the build) lacks it.
const Isa& find_isa(const std::string& name);

} // namespace lanewise
