// Matrix-vector products: every kernel of the engine's tables that this host runs (tile, number format, ISA) against a
// double-precision product of the stored weights and the input as that kernel rounds it.
#include "check.hpp"
#include "cores.hpp"
#include "plain.hpp"
#include "unpack.hpp"

#include <cmath>

using namespace lanewise;
using namespace lanewise::test;

namespace {

// Error allowed per magnitude of the terms summed. Sums in bf16 are one long chain, unlike f32's; int8's are exact.
double tolerance(Number number) {
    return number == Number::bf16 ? 1e-6 : 4e-7;
}

// Runs every ISA's kernel on x, which starts `shift` floats off its alignment and is followed by kInputPadding floats.
// Buffers end where the contract says, so that a sanitizer sees each float read or written beyond.
void check_product(const Plain& plain, std::size_t gates, const std::vector<float>& x, std::size_t shift,
                   const std::string& what) {
    const std::size_t rows = plain.rows, cols = plain.cols;
    const Matrix matrix = pack(plain, gates).matrix();
    const std::vector<float> columns = unpack(matrix.view());
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t c = 0; c < cols; ++c)
            CHECK(columns[c * rows + r] == static_cast<float>(plain.at(r, c)), "unpack, " + what);
    }

    const auto begin = x.begin() + static_cast<std::ptrdiff_t>(shift);
    const std::vector<double> read = as_read(plain.tiling, {begin, begin + static_cast<std::ptrdiff_t>(cols)});
    const std::vector<double> expected = plain(read);
    std::vector<double> size(rows, 0.0); // sum of the terms' magnitudes
    for (std::size_t i = 0; i < rows * cols; ++i)
        size[i / cols] += std::abs(plain.at(i / cols, i % cols) * read[i % cols]);
    for_isas([&](const Isa& isa, const std::string& where) {
        const MatVecFn kernel = find_kernel(*isa.kernels, matrix.view());
        if (!kernel)
            return;
        constexpr std::size_t kGuard = 16;
        std::vector<float> y(shift + rows, NAN);
        Aligned<float> scratch(cols + kInputPadding + kGuard);
        std::fill_n(scratch.data(), scratch.size(), NAN);
        kernel(matrix.view(), x.data() + shift, y.data() + shift, scratch.data());
        for (std::size_t r = 0; r < rows; ++r) {
            const double error = std::abs(static_cast<double>(y[shift + r]) - expected[r]);
            CHECK(error <= tolerance(plain.tiling.number) * size[r] + 1e-12,
                  what + ", " + where + ", row " + std::to_string(r) + ": " + std::to_string(y[shift + r]) +
                      " instead of " + std::to_string(expected[r]));
        }
        for (std::size_t i = 0; i < shift; ++i)
            CHECK(std::isnan(y[i]), "wrote before y, " + what + ", " + where);
        for (std::size_t i = cols + kInputPadding; i < scratch.size(); ++i)
            CHECK(std::isnan(scratch[i]), "wrote behind scratch, " + what + ", " + where);
    });
}

// A random input of `cols` numbers; what lies behind it may be any finite numbers.
std::vector<float> random_input(Rng& rng, std::size_t cols, std::size_t shift) {
    std::vector<float> x = normal(rng, shift + cols, std::pow(10.0, static_cast<double>(pick(rng, 0, 6)) - 3.0));
    const std::vector<float> behind = normal(rng, kInputPadding, 1e6);
    x.insert(x.end(), behind.begin(), behind.end());
    return x;
}

void check_random(Rng& rng, const Tiling& tiling, std::size_t rows, std::size_t cols, std::size_t gates, double kept,
                  std::size_t shift) {
    const Plain plain = random_plain(rng, tiling, rows, cols, gates, kept);
    check_product(plain, gates, random_input(rng, cols, shift), shift,
                  tiling.name() + ", " + std::to_string(rows) + " x " + std::to_string(cols) + ", gates " +
                      std::to_string(gates) + ", kept " + std::to_string(kept));
}

} // namespace

// What follows runs over the tables, so these must be right: no kernel hides another.
TEST(tables) {
    for (const Isa& isa : built_isas()) {
        CHECK(isa.kernels->n_products > 0, isa.name);
        for (std::size_t i = 0; i < isa.kernels->n_products; ++i) {
            const MatVecEntry& entry = isa.kernels->products[i];
            const Tiling tiling{entry.layout, entry.number, entry.tile_rows, entry.tile_cols};
            CHECK(find_kernel(*isa.kernels, tiling.shape(64, 64, 1)) == entry.run, tiling.name() + ", " + isa.name);
        }
    }
}

TEST(plain_shapes) {
    for (const Tiling& tiling : tilings()) {
        for (const double kept : {1.0, 0.3, 0.03, 0.0})
            check_random(rng, tiling, 192, 128, 3, kept, 0);
    }
}

TEST(ragged_shapes) {
    for (const Tiling& tiling : tilings()) {
        for (int round = 0; round < 40; ++round) {
            const double kept[] = {1.0, 0.7, 0.3, 0.05, 0.0};
            const std::size_t gates = pick(rng, 1, 3);
            check_random(rng, tiling, gates * pick(rng, 1, 100), pick(rng, 1, 80), gates, kept[pick(rng, 0, 4)], 0);
        }
    }
}

TEST(misaligned_inputs) {
    for (const Tiling& tiling : tilings()) {
        for (std::size_t shift = 1; shift < 16; ++shift)
            check_random(rng, tiling, 3 * pick(rng, 1, 70), pick(rng, 1, 70), 3, 0.5, shift);
    }
}

// Kernels may fetch indices in groups; the last columns of the last lines are the ones that end the arrays.
TEST(last_columns) {
    for (const Tiling& tiling : tilings()) {
        for (std::size_t cols = 1; cols <= 40; ++cols)
            check_random(rng, tiling, 33, cols, 1, 0.9, 0);
    }
}

// Kernels may look for inputs page by page, of any number of columns; kept ones may lie side by side or far apart.
TEST(long_lines) {
    for (const Tiling& tiling : tilings()) {
        for (const double kept : {1.0, 0.3, 0.02, 0.002})
            check_random(rng, tiling, 17, pick(rng, 200, 4000), 1, kept, 0);
    }
}

// More weights than the caches next to a core hold, which kernels may read in another way.
TEST(many_weights) {
    for (const Tiling& tiling : tilings()) {
        check_random(rng, tiling, 3 * 215, 1290, 3, 1.0, 0);
        check_random(rng, tiling, 3 * 430, 1290, 3, 0.6, 0);
    }
}

// All numbers of one magnitude, with and without signs that cancel; in int8 the greatest sums that there can be.
TEST(greatest_numbers) {
    for (const Tiling& tiling : tilings()) {
        const std::size_t rows = 17, cols = tiling.number == Number::int8 ? kMaxExtent : 200;
        for (const bool same_sign : {true, false}) {
            std::vector<float> weights(rows * cols, 1.0f), x(cols + kInputPadding, -1.0f);
            for (std::size_t i = 0; i < weights.size() && !same_sign; ++i)
                weights[i] = pick(rng, 0, 1) ? 1.0f : -1.0f;
            for (std::size_t i = 0; i < x.size() && !same_sign; ++i)
                x[i] = pick(rng, 0, 1) ? 1.0f : -1.0f;
            check_product(encode(tiling, rows, cols, weights), 1, x, 0, "greatest numbers, " + tiling.name());
        }
    }
}

// Nothing to take a scale from: no input, no weights, or inputs whose scale has no inverse.
TEST(zeros_and_tiny_inputs) {
    for (const Tiling& tiling : tilings()) {
        const std::size_t rows = 3 * pick(rng, 1, 30), cols = pick(rng, 1, 70);
        const Plain some = random_plain(rng, tiling, rows, cols, 3, 0.5);
        const Plain none = encode(tiling, rows, cols, std::vector<float>(rows * cols));
        for (const float magnitude : {0.0f, 1e-45f, 1e-38f, 1e-31f, 1e-29f})
            check_product(some, 3, std::vector<float>(cols + kInputPadding, magnitude), 0, "tiny, " + tiling.name());
        check_product(none, 3, random_input(rng, cols, 0), 0, "zeros, " + tiling.name());
    }
}

int main(int argc, char** argv) {
    return run_all(argc, argv);
}
