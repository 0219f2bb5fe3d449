// Real Fourier transform: the even and the odd samples as one complex sequence of half the length, transformed by
// Stockham's radix-4 (self-sorting) passes, and separated afterwards. Real and imaginary parts lie apart.
#pragma once

#include "kernels.hpp"
#include "simd.hpp"

namespace lanewise::LANEWISE_ISA {

// The four results of butterflies t onwards, of a pass at a stride.
template <int Stride> LW_INLINE void spread_out(float* y, std::size_t t, std::size_t stride, const V (&results)[4]) {
    if constexpr (Stride == 1) {
        interleave(y + 4 * t, results[0], results[1], results[2], results[3]);
    } else if constexpr (Stride == 0 || Stride >= kLanes) { // whole vectors stay together
#pragma GCC unroll 4
        for (std::size_t k = 0; k < 4; ++k)
            store<kLanes>(y + t + (t / stride * 3 + k) * stride, results[k]);
    } else {
#pragma GCC unroll 4
        for (std::size_t k = 0; k < 4; ++k) {
            float lanes[kLanes];
            store<kLanes>(lanes, results[k]);
#pragma GCC unroll 4
            for (std::size_t j = 0; j < kLanes; j += Stride)
                __builtin_memcpy(y + (t + j) * 4 + k * Stride, lanes + j, Stride * sizeof(float));
        }
    }
}

struct Complex {
    V re, im;
    LW_INLINE Complex operator+(Complex b) const { return {re + b.re, im + b.im}; }
    LW_INLINE Complex operator-(Complex b) const { return {re - b.re, im - b.im}; }
    LW_INLINE Complex operator*(Complex b) const { return {re * b.re - im * b.im, re * b.im + im * b.re}; }
};

// One radix-4 pass over all points. Stride: 1, 4, or 0 for those from 16 on.
template <int Stride>
void pass(std::size_t points, std::size_t stride, const float* twiddles, const float* xr, const float* xi, float* yr,
          float* yi) {
    const std::size_t quarter = points / 4;
    for (std::size_t t = 0; t < quarter; t += kLanes) {
        const auto input = [&](std::size_t k) __attribute__((always_inline)) {
            return Complex{load<kLanes>(xr + t + k * quarter), load<kLanes>(xi + t + k * quarter)};
        };
        const auto twiddle = [&](std::size_t power) __attribute__((always_inline)) {
            const float* w = twiddles + (power - 1) * 2 * quarter + t;
            return Complex{load<kLanes>(w), load<kLanes>(w + quarter)};
        };
        const Complex a = input(0), b = input(1), c = input(2), d = input(3);
        const Complex even = a + c, odd = a - c, sum = b + d, difference = b - d;
        const Complex turned{-difference.im, difference.re};
        const Complex y0 = even + sum, y1 = twiddle(1) * (odd - turned);
        const Complex y2 = twiddle(2) * (even - sum), y3 = twiddle(3) * (odd + turned);
        spread_out<Stride>(yr, t, stride, {y0.re, y1.re, y2.re, y3.re});
        spread_out<Stride>(yi, t, stride, {y0.im, y1.im, y2.im, y3.im});
    }
}

struct Parts {
    float *re, *im;
};

// Transforms n / 2 complex points at x; y is as much room. The result lies at the one returned.
inline Parts transform(const FftView& fft, Parts x, Parts y) {
    const std::size_t points = fft.n / 2;
    const float* twiddles = fft.twiddles;
    std::size_t stride = 1;
    for (; points / stride >= 4; stride *= 4, twiddles += 6 * (points / 4)) {
        const auto run = stride == 1 ? pass<1> : stride == 4 ? pass<4> : pass<0>;
        run(points, stride, twiddles, x.re, x.im, y.re, y.im);
        const Parts result = y;
        y = x;
        x = result;
    }
    if (points / stride == 2) {
        for (std::size_t q = 0; q < stride; q += kLanes) {
            const auto add = [&](const float* from, float* to) __attribute__((always_inline)) {
                const V a = load<kLanes>(from + q), b = load<kLanes>(from + q + stride);
                store<kLanes>(to + q, a + b);
                store<kLanes>(to + q + stride, a - b);
            };
            add(x.re, y.re);
            add(x.im, y.im);
        }
        return y;
    }
    return x;
}

LW_INLINE Complex load_complex(const float* re, const float* im, std::size_t at) {
    return {load<kLanes>(re + at), load<kLanes>(im + at)};
}
// Calls body(k, mirrored, turn) for vectors of k from 1 to half the points; mirrored is where the vector of points - k
// begins, which lies in the opposite order. At the middle both reach beyond it, where their results are the same.
template <typename Body> LW_INLINE void for_pairs(const FftView& fft, Body body) {
    const std::size_t points = fft.n / 2;
    for (std::size_t k = 1; k <= points / 2; k += kLanes) {
        body(k, points - k - (kLanes - 1), load_complex(fft.turns, fft.turns + points, k));
    }
}
// The conjugate, in the opposite order.
LW_INLINE Complex load_mirrored(const float* re, const float* im, std::size_t at) {
    return {reversed(load<kLanes>(re + at)), -reversed(load<kLanes>(im + at))};
}
LW_INLINE void store_complex(const Parts& y, std::size_t at, Complex value) {
    store<kLanes>(y.re + at, value.re);
    store<kLanes>(y.im + at, value.im);
}
LW_INLINE void store_mirrored(const Parts& y, std::size_t at, Complex value) {
    store<kLanes>(y.re + at, reversed(value.re));
    store<kLanes>(y.im + at, -reversed(value.im));
}
LW_INLINE Complex half(Complex x) {
    return {splat(0.5f) * x.re, splat(0.5f) * x.im};
}

// Bins (n / 2 + 1) of n windowed samples.
inline void spectrum(const FftView& fft, const float* __restrict x, const float* __restrict window,
                     float* __restrict re, float* __restrict im, float* __restrict scratch) {
    const std::size_t points = fft.n / 2;
    const Parts packed{scratch, scratch + points}, bins{re, im};
    for (std::size_t i = 0; i < points; ++i) {
        packed.re[i] = x[2 * i] * window[2 * i];
        packed.im[i] = x[2 * i + 1] * window[2 * i + 1];
    }
    const Parts z = transform(fft, packed, {scratch + 2 * points, scratch + 3 * points});
    re[0] = z.re[0] + z.im[0];
    re[points] = z.re[0] - z.im[0];
    im[0] = im[points] = 0.0f;
    for_pairs(fft, [&](std::size_t k, std::size_t mirrored, Complex turn) __attribute__((always_inline)) {
        const Complex a = load_complex(z.re, z.im, k), b = load_mirrored(z.re, z.im, mirrored);
        const Complex even = half(a + b), difference = half(a - b);
        const Complex odd = turn * Complex{difference.im, -difference.re};
        store_complex(bins, k, even + odd);
        store_mirrored(bins, mirrored, even - odd);
    });
}

// Adds the n samples of bins (n / 2 + 1), windowed and scaled by n / 2 (which the window takes out), to sum.
inline void overlap_add(const FftView& fft, const float* __restrict re, const float* __restrict im,
                        const float* __restrict window, float* __restrict sum, float* __restrict scratch) {
    const std::size_t points = fft.n / 2;
    const Parts packed{scratch, scratch + points};
    packed.re[0] = 0.5f * (re[0] + re[points]);
    packed.im[0] = 0.5f * (re[0] - re[points]);
    for_pairs(fft, [&](std::size_t k, std::size_t mirrored, Complex turn) __attribute__((always_inline)) {
        const Complex a = load_complex(re, im, k), b = load_mirrored(re, im, mirrored);
        const Complex even = half(a + b), odd = Complex{turn.re, -turn.im} * half(a - b);
        const Complex turned{-odd.im, odd.re};
        store_complex(packed, k, even + turned);
        store_mirrored(packed, mirrored, even - turned);
    });
    // Real and imaginary part exchanged, before and after, make the inverse of the transform.
    const Parts z = transform(fft, {packed.im, packed.re}, {scratch + 2 * points, scratch + 3 * points});
    for (std::size_t i = 0; i < points; ++i) {
        sum[2 * i] += z.im[i] * window[2 * i];
        sum[2 * i + 1] += z.re[i] * window[2 * i + 1];
    }
}

inline void magnitudes(std::size_t n, const float* __restrict re, const float* __restrict im, float* __restrict y) {
    for (std::size_t i = 0; i < n; ++i)
        y[i] = __builtin_sqrtf(re[i] * re[i] + im[i] * im[i]);
}

} // namespace lanewise::LANEWISE_ISA
