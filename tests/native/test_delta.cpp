// The recurrent product of a delta network on every ISA of this host, step by step against its definition in double
// precision: only inputs further than the threshold from where they were last used count, and only they are read.
#include "check.hpp"
#include "cores.hpp"
#include "delta.hpp"
#include "model.hpp"

#include <cmath>

using namespace lanewise;
using namespace lanewise::test;

namespace {

// A state that wanders, some of it slowly, some of it at rest.
void wander(Rng& rng, std::vector<float>& x) {
    const std::vector<float> by = normal(rng, x.size(), 0.05);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] += i % 3 == 0 ? by[i] : i % 3 == 1 ? 0.01f * by[i] : 0.0f;
}

void check_product(Rng& rng, const Tiling& tiling, std::size_t rows, std::size_t cols, std::size_t gates, double kept,
                   float threshold, std::size_t steps) {
    const Plain plain = random_plain(rng, tiling, rows, cols, gates, kept);
    const Matrix matrix = pack(plain, gates).matrix();
    const MatrixView& m = matrix.view();
    CHECK(DeltaProduct::fits(m), tiling.name());
    for_isas([&](const Isa& isa, const std::string& where) {
        const std::string what = tiling.name() + ", " + where + ", " + std::to_string(rows) + " x " +
                                 std::to_string(cols) + ", threshold " + std::to_string(threshold);
        DeltaProduct product(m, *isa.kernels, threshold);
        CHECK(product.skipped() == 0.0, what);
        std::vector<float> x(cols + kInputPadding), y(rows + 1, NAN);
        std::vector<double> used(cols), size(rows);
        Aligned<float> scratch(cols + kInputPadding);
        std::size_t read = 0, all = 0;
        for (std::size_t step = 0; step < steps; ++step) {
            const bool refresh = step % DeltaProduct::kRefreshSteps == 0;
            for (std::size_t c = 0; c < cols; ++c) {
                const bool moved = std::abs(x[c] - static_cast<float>(used[c])) > threshold;
                if (moved)
                    used[c] = static_cast<double>(x[c]);
                for (std::size_t gate = 0; gate < (tiling.layout == Layout::dense ? 1 : gates); ++gate) {
                    bool stored = tiling.layout == Layout::dense;
                    for (std::size_t r = gate * rows / gates; r < (gate + 1) * rows / gates; ++r)
                        stored = stored || plain.at(r, c) != 0.0;
                    all += stored;
                    read += stored && (moved || refresh);
                }
            }
            product(x.data(), y.data(), scratch.data());
            const std::vector<double> expected = plain(used);
            for (std::size_t r = 0; r < rows; ++r) {
                size[r] = 0.0;
                for (std::size_t c = 0; c < cols; ++c)
                    size[r] += std::abs(plain.at(r, c) * used[c]);
                const double error = std::abs(static_cast<double>(y[r]) - expected[r]);
                CHECK(error <= 4e-6 * (size[r] + 0.1), what + ", step " + std::to_string(step));
            }
            CHECK(std::isnan(y[rows]), "wrote behind y, " + what);
            wander(rng, x);
            std::fill_n(x.end() - kInputPadding, kInputPadding, 0.0f);
        }
        const double skipped = all ? 1.0 - static_cast<double>(read) / static_cast<double>(all) : 0.0;
        CHECK(product.skipped() == skipped, what + ": " + std::to_string(product.skipped()));
    });
}

} // namespace

TEST(steps) {
    for (const Tiling& tiling : {kDense, kColumns}) {
        for (const float threshold : {0.0f, 0.02f, 0.5f})
            check_product(rng, tiling, 3 * 40, 40, 3, 0.5, threshold, DeltaProduct::kRefreshSteps * 2 + 20);
    }
}

TEST(ragged_shapes) {
    for (int round = 0; round < 40; ++round) {
        const std::size_t gates = pick(rng, 1, 3);
        const double kept[] = {1.0, 0.5, 0.1, 0.0};
        check_product(rng, round % 2 ? kDense : kColumns, gates * pick(rng, 1, 80), pick(rng, 1, 60), gates,
                      kept[pick(rng, 0, 3)], 0.03f, 12);
    }
}

// More weights than the caches next to a core hold.
TEST(many_weights) {
    for (const Tiling& tiling : {kDense, kColumns})
        check_product(rng, tiling, 3 * 215, 1290, 3, 1.0, 0.03f, 3);
}

TEST(layouts) {
    for (const Tiling& tiling : tilings()) {
        const bool by_column = tiling.layout == Layout::dense || tiling.layout == Layout::compact;
        const Matrix matrix = pack(random_plain(rng, tiling, 48, 16, 3, 0.5), 3).matrix();
        CHECK(DeltaProduct::fits(matrix.view()) == (by_column && tiling.number == Number::f32), tiling.name());
    }
}

int main(int argc, char** argv) {
    return run_all(argc, argv);
}
