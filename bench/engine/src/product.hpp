// A weight matrix of a packed model with its kernel.
#pragma once

#include "isa.hpp"
#include "lwm.hpp"

namespace lanewise {

struct Product {
    Matrix matrix;
    MatVecFn kernel = nullptr;

    Product() = default;
    // Throws Error if the file has no such matrix, or the ISA no kernel for it.
    Product(const PackedFile& file, const Isa& isa, const std::string& name, std::size_t rows, std::size_t cols,
            std::size_t gates)
        : matrix(file.matrix(name, rows, cols, gates)), kernel(matvec_kernel(isa, name, matrix.view())) {}

    void operator()(const float* x, float* y, float* scratch) const { kernel(matrix.view(), x, y, scratch); }
    Number number() const { return matrix.view().number; }
};

} // namespace lanewise
