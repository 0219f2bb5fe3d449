// Tables of a real Fourier transform of n samples, n a power of two; fft_kernels.hpp runs it on each ISA.
#pragma once

#include "aligned.hpp"
#include "kernels.hpp"

namespace lanewise {

class Fft {
public:
    static constexpr std::size_t kLeast = 128, kMost = 4096; // samples; below, a butterfly would not fill a vector

    Fft() = default;
    // Throws Error unless n is a power of two from kLeast to kMost.
    explicit Fft(std::size_t n);

    FftView view() const { return {n_, twiddles_.data(), turns_.data()}; }
    std::size_t bins() const { return n_ / 2 + 1; }
    // Floats that a transform needs to work in.
    std::size_t scratch_floats() const { return 2 * n_; }

private:
    std::size_t n_ = 0;
    Aligned<float> twiddles_, turns_;
};

} // namespace lanewise
