#include "error.hpp"
#include "isa.hpp"

namespace lanewise {

MatVecFn find_kernel(const Kernels& kernels, const MatrixView& m) {
    for (std::size_t i = 0; i < kernels.n_products; ++i) {
        const MatVecEntry& p = kernels.products[i];
        if (p.layout == m.layout && p.number == m.number && p.tile_rows == m.tile_rows && p.tile_cols == m.tile_cols)
            return p.run;
    }
    return nullptr;
}

MatVecFn matvec_kernel(const Isa& isa, const MatrixView& m) {
    const MatVecFn kernel = find_kernel(*isa.kernels, m);
    if (!kernel) {
        throw Error(std::string(number_name(m.number)) + " matrices of this tile have no kernel on " + isa.name +
                    "; choose another ISA or pack the model as f32 (`lanewise kernels --list` shows what exists)");
    }
    return kernel;
}

} // namespace lanewise
