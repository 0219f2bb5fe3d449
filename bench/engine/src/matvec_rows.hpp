// Whole rows kept or dropped: the kept ones are a dense matrix, whose products are spread over the output.
#pragma once

#include "matvec_block.hpp"

namespace lanewise::LANEWISE_ISA {

// A kept row never lies before its place among the kept ones, so the dense product is made at the front of y and spread
// from its end, in place; dropped rows give 0.
template <MatVecFn Dense> void rows_kept(const MatrixView& m, const float* x, float* y, float* scratch) {
    Dense(kept_rows(m), x, y, scratch);
    std::size_t end = m.rows;
    for (std::size_t k = m.counts[0]; k-- > 0;) {
        const std::size_t row = m.index[k];
        for (std::size_t i = row + 1; i < end; ++i)
            y[i] = 0.0f;
        y[row] = y[k];
        end = row;
    }
    for (std::size_t i = 0; i < end; ++i)
        y[i] = 0.0f;
}

} // namespace lanewise::LANEWISE_ISA
