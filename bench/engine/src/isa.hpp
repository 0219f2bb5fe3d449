// Instruction sets that kernels are compiled for, and which of them this host can run.
#pragma once

#include "kernels.hpp"

#include <string>
#include <vector>

namespace lanewise {

struct Isa {
    const char* name;
    const Kernels* kernels;
};

// Runnable here, narrowest first; "scalar" is always there.
const std::vector<Isa>& host_isas();

// Every ISA in this build, whether or not this host runs it; their tables may be read, but nothing of them called.
const std::vector<Isa>& built_isas();

// Throws Error if the host (or the build) lacks it.
const Isa& find_isa(const std::string& name);

// The kernel of a matrix (its layout, number format and tile); null if the ISA has none.
MatVecFn find_kernel(const Kernels& kernels, const MatrixView& m);
// The same; throws Error, whose message starts with the matrix's name, if the ISA has none.
MatVecFn matvec_kernel(const Isa& isa, const std::string& name, const MatrixView& m);

} // namespace lanewise
