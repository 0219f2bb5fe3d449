// Everything of the vocoder outside its matrix products, function by function, against double precision.
#include "check.hpp"
#include "cores.hpp"
#include "quantiser.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

using namespace lanewise;
using namespace lanewise::test;

namespace {

using Doubles = std::vector<double>;

double sigmoid(double x) {
    return 0.5 * (1.0 + std::tanh(0.5 * x));
}

// Calls body(isa, n) for sizes around those of every ISA's vectors.
template <typename Body> void for_sizes(Body body) {
    for (const Isa& isa : host_isas()) {
        for (const std::size_t n : {1, 3, 4, 5, 8, 15, 16, 17, 31, 33, 64, 100})
            body(isa, n);
    }
}

} // namespace

TEST(functions) {
    const auto check = [&rng](auto fast, double (*exact)(double), double absolute, double relative, const char* what) {
        std::vector<float> x = normal(rng, 20001, 12.0), y(x.size());
        x[0] = 0.0f, x[1] = -0.0f, x[2] = 80.0f, x[3] = -80.0f;
        fast(x.size(), x.data(), y.data());
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double expected = exact(static_cast<double>(x[i]));
            const double error = std::abs(static_cast<double>(y[i]) - expected);
            CHECK(error <= absolute + relative * std::abs(expected), what + std::string(" of ") + std::to_string(x[i]));
        }
    };
    for (const Isa& isa : host_isas()) { // the errors that math.hpp states
        check(isa.kernels->exp, [](double x) { return std::exp(x); }, 0.0, 2e-7, isa.name);
        check(isa.kernels->sigmoid, sigmoid, 1.2e-7, 0.0, isa.name);
        check(isa.kernels->tanh, [](double x) { return std::tanh(x); }, 2.4e-7, 0.0, isa.name);
    }
}

TEST(elementwise) {
    for_sizes([&](const Isa& isa, std::size_t n) {
        const std::vector<float> x = normal(rng, n), y = normal(rng, n), a = normal(rng, n), b = normal(rng, n);
        std::vector<float> rectified = y, added = y, normalised(n);
        isa.kernels->bias_relu(n, b.data(), rectified.data());
        isa.kernels->add_bias_relu(n, x.data(), b.data(), added.data());
        isa.kernels->normalise(n, x.data(), a.data(), b.data(), normalised.data());
        for (std::size_t i = 0; i < n; ++i) {
            CHECK(rectified[i] == std::max(y[i] + b[i], 0.0f), isa.name);
            CHECK(added[i] == y[i] + std::max(x[i] + b[i], 0.0f), isa.name);
            CHECK(normalised[i] == (x[i] - a[i]) * b[i], isa.name);
        }
    });
}

TEST(gru_gates) {
    for_sizes([&](const Isa& isa, std::size_t n) {
        const int bands = static_cast<int>(pick(rng, 1, kMaxBands));
        const auto conditioning = normal(rng, 3 * n), recurrent = normal(rng, 3 * n), bias_n = normal(rng, n);
        const auto before = normal(rng, n, 0.5);
        GruStep step{n, conditioning.data(), {}, bands, recurrent.data(), bias_n.data(), {}};
        // Rows of bf16 and int8 numbers, the same in all three formats.
        const bool whole = pick(rng, 0, 1) == 0;
        std::vector<std::vector<float>> rows;
        std::vector<std::vector<std::uint16_t>> halves;
        std::vector<std::vector<std::int8_t>> bytes;
        for (int b = 0; b < bands; ++b) {
            rows.emplace_back(), halves.emplace_back(), bytes.emplace_back();
            step.row_scales[b] = 0.0078125f * static_cast<float>(b + 1) / 8.0f;
            for (std::size_t i = 0; i < 3 * n; ++i) {
                bytes.back().push_back(static_cast<std::int8_t>(static_cast<int>(pick(rng, 0, 254)) - 127));
                rows.back().push_back(static_cast<float>(bytes.back().back()) * step.row_scales[b]);
                halves.back().push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(rows.back()[i]) >> 16));
                if (whole)
                    rows.back()[i] = std::bit_cast<float>(std::uint32_t{halves.back()[i]} << 16);
            }
            const auto band = static_cast<std::size_t>(b);
            step.table_rows[b] = whole ? static_cast<const void*>(halves[band].data()) : bytes[band].data();
        }
        std::vector<float> h = before, wide = before;
        (whole ? isa.kernels->gru_gates_bf16 : isa.kernels->gru_gates_int8)(step, h.data());
        for (int b = 0; b < bands; ++b)
            step.table_rows[b] = rows[static_cast<std::size_t>(b)].data();
        isa.kernels->gru_gates(step, wide.data());
        for (std::size_t i = 0; i < n; ++i)
            CHECK(std::abs(h[i] - wide[i]) < 1e-6f, isa.name);
        for (std::size_t i = 0; i < n; ++i) {
            double a[3];
            for (std::size_t gate = 0; gate < 3; ++gate) {
                a[gate] = static_cast<double>(conditioning[gate * n + i]);
                for (const auto& row : rows)
                    a[gate] += static_cast<double>(row[gate * n + i]);
            }
            const auto u = [&](std::size_t gate) { return static_cast<double>(recurrent[gate * n + i]); };
            const double r = sigmoid(a[0] + u(0)), z = sigmoid(a[1] + u(1));
            const double candidate = std::tanh(a[2] + r * (u(2) + static_cast<double>(bias_n[i])));
            const double expected = (1.0 - z) * candidate + z * static_cast<double>(before[i]);
            CHECK(std::abs(static_cast<double>(h[i]) - expected) < 3e-6,
                  isa.name + std::string(" ") + std::to_string(n));
        }
    });
}

// Where the kernel is sure of its levels they are those of double precision, and it mostly is.
TEST(sample) {
    const Edges edges = make_edges();
    for (const Isa& isa : host_isas()) {
        int sure = 0;
        constexpr int kDraws = 2000;
        for (int draw = 0; draw < kDraws; ++draw) {
            const std::size_t bands = pick(rng, 1, 4), mixtures = pick(rng, 1, kMaxMixtures);
            const double temperature = 0.5 + 0.1 * static_cast<double>(pick(rng, 0, 10));
            const auto parameters = normal(rng, bands * 3 * mixtures), bias = normal(rng, bands * 3 * mixtures);
            Doubles uniform(bands);
            for (double& u : uniform)
                u = (static_cast<double>(pick(rng, 0, 99999)) + 0.5) / 100000.0;
            const Mixture mixture{static_cast<int>(bands), static_cast<int>(mixtures), temperature, &edges,
                                  bias.data()};
            std::vector<std::uint8_t> levels(bands);
            if (!isa.kernels->sample(mixture, parameters.data(), uniform.data(), levels.data()))
                continue;
            ++sure;
            for (std::size_t b = 0; b < bands; ++b) {
                const auto at = [&](std::size_t kind, std::size_t j) {
                    const std::size_t i = (b * 3 + kind) * mixtures + j;
                    return static_cast<double>(parameters[i]) + static_cast<double>(bias[i]);
                };
                int level = 0;
                for (int k = 1; k < kLevels; ++k) {
                    double cumulative = 0.0, total = 0.0;
                    for (std::size_t j = 0; j < mixtures; ++j) {
                        const double weight = std::exp(at(0, j) / temperature);
                        const double scale = std::exp(std::max(at(2, j), -9.0)) * temperature;
                        total += weight;
                        cumulative += weight * sigmoid((companded(k - 0.5) - at(1, j)) / scale);
                    }
                    level += cumulative <= uniform[b] * total;
                }
                CHECK(levels[b] == level, isa.name);
            }
        }
        CHECK(sure > kDraws * 9 / 10, isa.name);
    }
}

TEST(synthesise) {
    for_sizes([&](const Isa& isa, std::size_t steps) {
        const std::size_t bands = pick(rng, 1, 8), per_phase = pick(rng, 1, 9), taps = bands * per_phase;
        const std::size_t history = per_phase - 1, stride = history + steps;
        const auto filters = normal(rng, bands * taps), planes = normal(rng, bands * stride);
        std::vector<float> audio(steps * bands);
        isa.kernels->synthesise({bands, taps, filters.data()}, planes.data() + history, stride, steps, audio.data());
        for (std::size_t i = 0; i < audio.size(); ++i) {
            double expected = 0.0;
            for (std::size_t b = 0; b < bands; ++b) {
                for (std::size_t k = 0; k < per_phase; ++k) {
                    expected += static_cast<double>(planes[b * stride + history + i / bands - k]) *
                                static_cast<double>(filters[b * taps + k * bands + i % bands]);
                }
            }
            CHECK(std::abs(static_cast<double>(audio[i]) - expected) < 1e-4, isa.name);
        }
    });
}

TEST(read) {
    for (const std::size_t size : {1024, 1 << 18}) { // the latter beyond L2
        std::vector<std::uint64_t> words(size, 0);
        for_isas([&](const Isa& isa, const std::string& where) {
            CHECK(isa.kernels->read(words.data(), size * 8) == 0, where);
            const std::size_t at = pick(rng, 0, size - 1);
            words[at] = 0x40;
            CHECK(isa.kernels->read(words.data(), size * 8) == 0x40, where);
            words[at] = 0;
        });
    }
}

int main(int argc, char** argv) {
    return run_all(argc, argv);
}
