// Matrix-vector products: every layout on every ISA of this host against a double-precision product.
#include "check.hpp"
#include "isa.hpp"
#include "plain.hpp"
#include "unpack.hpp"

#include <cmath>

using namespace lanewise;
using namespace lanewise::test;

namespace {

// Buffers end where the contract says, so that a sanitizer sees each float read or written beyond; x, y and scratch
// start `shift` floats off their alignment.
void check_product(Rng& rng, const Tiling& tiling, std::size_t rows, std::size_t cols, std::size_t gates, double kept,
                   std::size_t shift) {
    const Plain plain = random_plain(rng, tiling, rows, cols, gates, kept);
    const Matrix matrix = pack(plain, tiling, gates).matrix();
    const std::string what = tiling.name() + ", " + std::to_string(rows) + " x " + std::to_string(cols) + ", gates " +
                             std::to_string(gates) + ", kept " + std::to_string(kept);

    const std::vector<float> columns = unpack(matrix.view());
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t c = 0; c < cols; ++c)
            CHECK(columns[c * rows + r] == plain.at(r, c), "unpack, " + what);
    }

    // What lies behind the input may be any finite number.
    const std::vector<float> x = normal(rng, shift + cols + kInputPadding);
    const std::vector<double> expected = plain({x.begin() + static_cast<std::ptrdiff_t>(shift), x.end()});
    for (const Isa& isa : host_isas()) {
        const MatVecFn kernel = find_kernel(*isa.kernels, matrix.view());
        CHECK(kernel != nullptr, what);
        std::vector<float> y(shift + rows, NAN), scratch(shift + cols + kInputPadding);
        kernel(matrix.view(), x.data() + shift, y.data() + shift, scratch.data() + shift);
        for (std::size_t r = 0; r < rows; ++r) {
            double size = 0.0;
            for (std::size_t c = 0; c < cols; ++c)
                size += std::abs(static_cast<double>(plain.at(r, c)) * static_cast<double>(x[shift + c]));
            const double error = std::abs(static_cast<double>(y[shift + r]) - expected[r]);
            CHECK(error <= 4e-7 * size + 1e-12, what + ", " + isa.name + ", row " + std::to_string(r));
        }
        for (std::size_t i = 0; i < shift; ++i)
            CHECK(std::isnan(y[i]), "wrote before y, " + what + ", " + isa.name);
    }
}

} // namespace

TEST(every_layout_of_the_engine_is_tested) {
    for (const Isa& isa : host_isas()) {
        for (std::size_t i = 0; i < isa.kernels->n_products; ++i) {
            const MatVecEntry& entry = isa.kernels->products[i];
            const bool here = entry.number == Number::f32 && (entry.tile_rows == 1 || entry.tile_cols == 1);
            bool listed = false;
            for (const Tiling& tiling : kTilings) {
                listed = listed || (tiling.layout == entry.layout && tiling.tile_rows() == entry.tile_rows &&
                                    tiling.tile_cols() == entry.tile_cols);
            }
            CHECK(listed || !here, isa.name + std::string(", kernel ") + std::to_string(i));
        }
    }
}

TEST(plain_shapes) {
    for (const Tiling& tiling : kTilings) {
        for (const double kept : {1.0, 0.3, 0.03, 0.0})
            check_product(rng, tiling, 192, 128, 3, kept, 0);
    }
}

TEST(ragged_shapes) {
    for (const Tiling& tiling : kTilings) {
        for (int round = 0; round < 40; ++round) {
            const double kept[] = {1.0, 0.7, 0.3, 0.05, 0.0};
            const std::size_t gates = pick(rng, 1, 3);
            check_product(rng, tiling, gates * pick(rng, 1, 100), pick(rng, 1, 80), gates, kept[pick(rng, 0, 4)], 0);
        }
    }
}

TEST(misaligned_inputs) {
    for (const Tiling& tiling : kTilings) {
        for (std::size_t shift = 1; shift < 16; ++shift)
            check_product(rng, tiling, 3 * pick(rng, 1, 70), pick(rng, 1, 70), 3, 0.5, shift);
    }
}

// Kernels may fetch indices in groups; the last columns of the last lines are the ones that end the arrays.
TEST(last_columns) {
    for (const Tiling& tiling : kTilings) {
        for (std::size_t cols = 1; cols <= 40; ++cols)
            check_product(rng, tiling, 33, cols, 1, 0.9, 0);
    }
}

int main(int argc, char** argv) {
    return run_all(argc, argv);
}
