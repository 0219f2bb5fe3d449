#include "features.hpp"

#include "mel_scale.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lanewise {

namespace {

using Complex = std::complex<double>;
constexpr std::size_t kWindow = 640;
constexpr double kPi = std::numbers::pi;

// Discrete Fourier transform of n values in place, n a power of two: decimation in time after bit reversal
// (Cooley & Tukey 1965). step: that of the table of twiddles for this n.
void transform_in_place(Complex* x, std::size_t n, const Complex* twiddles, std::size_t step) {
    for (std::size_t i = 1, j = 0; i < n; ++i) {
        std::size_t bit = n / 2;
        for (; j & bit; bit /= 2)
            j ^= bit;
        j |= bit;
        if (i < j)
            std::swap(x[i], x[j]);
    }
    for (std::size_t half = 1; half < n; half *= 2) {
        const std::size_t stride = step * (n / 2 / half);
        for (std::size_t begin = 0; begin < n; begin += 2 * half) {
            for (std::size_t k = 0; k < half; ++k) {
                const Complex w = twiddles[k * stride], odd = x[begin + half + k], even = x[begin + k];
                // By hand: the operator * of complex numbers tests for NaN.
                const Complex turned(w.real() * odd.real() - w.imag() * odd.imag(),
                                     w.real() * odd.imag() + w.imag() * odd.real());
                x[begin + k] = even + turned;
                x[begin + half + k] = even - turned;
            }
        }
    }
}

} // namespace

LogMel::LogMel() : hann_(kFft), twiddles_(kFft / 2) {
    for (std::size_t i = 0; i < kWindow; ++i) {
        hann_[(kFft - kWindow) / 2 + i] =
            static_cast<float>(0.5 - 0.5 * std::cos(2.0 * kPi * static_cast<double>(i) / kWindow));
    }
    for (std::size_t k = 0; k < kFft / 2; ++k)
        twiddles_[k] = std::polar(1.0, -2.0 * kPi * static_cast<double>(k) / kFft);
    const double top = mel_of(kSampleRateHz / 2.0);
    for (std::size_t m = 0; m < kMels; ++m) {
        const auto corner = [&](std::size_t i) { return hz_of(top * static_cast<double>(i) / (kMels + 1)); };
        const double low = corner(m), centre = corner(m + 1), high = corner(m + 2);
        Filter filter{0, {}};
        for (std::size_t bin = 0; bin <= kFft / 2; ++bin) {
            const double hz = static_cast<double>(bin * kSampleRateHz) / kFft;
            const double height = std::min((hz - low) / (centre - low), (high - hz) / (high - centre));
            if (height <= 0.0)
                continue;
            if (filter.weights.empty())
                filter.first = bin;
            filter.weights.push_back(static_cast<float>(height * 2.0 / (high - low)));
        }
        filters_.push_back(std::move(filter));
    }
}

std::size_t LogMel::frames(std::size_t samples) {
    const std::size_t frames = samples / kHop;
    return frames * kHop > kPad ? frames : 0;
}

void LogMel::transform(const float* window, float* mel) const {
    // The even and odd samples as one complex sequence of half the length, separated afterwards.
    constexpr std::size_t kHalf = kFft / 2;
    Complex z[kHalf];
    for (std::size_t i = 0; i < kHalf; ++i)
        z[i] = {window[2 * i] * hann_[2 * i], window[2 * i + 1] * hann_[2 * i + 1]};
    transform_in_place(z, kHalf, twiddles_.data(), 2);
    float magnitude[kHalf + 1];
    magnitude[0] = static_cast<float>(std::abs(z[0].real() + z[0].imag()));
    magnitude[kHalf] = static_cast<float>(std::abs(z[0].real() - z[0].imag()));
    for (std::size_t k = 1; k < kHalf; ++k) {
        const Complex a = z[k], b = std::conj(z[kHalf - k]);
        const Complex even = 0.5 * (a + b), odd = Complex(0.0, -0.5) * (a - b);
        magnitude[k] = static_cast<float>(std::abs(even + twiddles_[k] * odd));
    }
    for (std::size_t m = 0; m < kMels; ++m) {
        const Filter& filter = filters_[m];
        float sum = 0.0f;
        for (std::size_t i = 0; i < filter.weights.size(); ++i)
            sum += filter.weights[i] * magnitude[filter.first + i];
        mel[m] = std::log(std::max(sum, 1e-5f));
    }
}

} // namespace lanewise
