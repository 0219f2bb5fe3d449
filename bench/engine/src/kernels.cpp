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

MatVecFn matvec_kernel(const Isa& isa, const std::string& name, const MatrixView& m) {
    const MatVecFn kernel = find_kernel(*isa.kernels, m);
    if (!kernel) {
        const std::string tile = std::to_string(m.tile_rows) + "x" + std::to_string(m.tile_cols);
        const std::string what = m.layout == Layout::dense ? "dense" : tile;
        throw Error(name + ": " + number_name(m.number) + " " + what + " has no kernel on " + isa.name +
                    "; choose another ISA or pack the model as f32 (`lanewise kernels --list` shows what exists)");
    }
    return kernel;
}

} // namespace lanewise
