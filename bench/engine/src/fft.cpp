#include "fft.hpp"

#include "error.hpp"

#include <bit>
#include <cmath>
#include <numbers>
#include <string>

namespace lanewise {

Fft::Fft(std::size_t n) : n_(n) {
    if (n < kLeast || n > kMost || !std::has_single_bit(n)) {
        throw Error("header: n_fft is " + std::to_string(n) + ", expected a power of two from " +
                    std::to_string(kLeast) + " to " + std::to_string(kMost));
    }
    const std::size_t points = n / 2, quarter = points / 4; // complex points, butterflies of a stage
    const auto turn = [](std::size_t k, std::size_t of) {
        return -2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(of);
    };
    std::size_t stages = 0;
    for (std::size_t left = points; left >= 4; left /= 4)
        ++stages;
    twiddles_ = Aligned<float>(stages * 6 * quarter);
    for (std::size_t stage = 0, stride = 1; stage < stages; ++stage, stride *= 4) {
        for (std::size_t power = 1; power <= 3; ++power) {
            float* real = twiddles_.data() + (stage * 6 + (power - 1) * 2) * quarter;
            for (std::size_t t = 0; t < quarter; ++t) {
                const double angle = turn(power * (t / stride), points / stride);
                real[t] = static_cast<float>(std::cos(angle));
                real[quarter + t] = static_cast<float>(std::sin(angle));
            }
        }
    }
    turns_ = Aligned<float>(2 * points);
    for (std::size_t k = 0; k < points; ++k) {
        turns_[k] = static_cast<float>(std::cos(turn(k, n)));
        turns_[points + k] = static_cast<float>(std::sin(turn(k, n)));
    }
}

} // namespace lanewise
