// exp, log, sigmoid and tanh on vectors. Largest errors found by tests/engine/test_math.py over every ISA:
// exp 2e-7 relative, log 1e-7 of the greater of 1 and the result, sigmoid 1.2e-7 and tanh 2.4e-7 absolute.
#pragma once

#include "simd.hpp"

namespace lanewise::LANEWISE_ISA {

// 2^n * p(r), n = round(x / ln 2), |r| <= ln 2 / 2, p of degree 6 with the coefficients of Cephes' expf (Moshier,
// netlib.org/cephes); x in [-87, 88].
LW_INLINE V exp_in_range(V x) {
    const V magic = splat(12582912.0f); // 1.5 * 2^23: adding it rounds to an integer, held in the low bits
    const V shifted = x * splat(1.44269504088896341f) + magic;
    const V n = shifted - magic;
    V r = x - n * splat(0.693359375f);
    r = r - n * splat(-2.12194440e-4f);
    V p = splat(1.9875691500e-4f);
    p = p * r + splat(1.3981999507e-3f);
    p = p * r + splat(8.3334519073e-3f);
    p = p * r + splat(4.1665795894e-2f);
    p = p * r + splat(1.6666665459e-1f);
    p = p * r + splat(5.0000001201e-1f);
    p = p * (r * r) + r + splat(1.0f);
    // The magic number's own low bits are zero, so this adds n to the exponent.
    return from_bits(bits(p) + (bits(shifted) << 23));
}

// exp(x) for x clamped to [-87, 88].
LW_INLINE V fast_exp(V x) {
    return exp_in_range(least(most(x, splat(-87.0f)), splat(88.0f)));
}

// The same for x <= 0.
LW_INLINE V exp_of_negative(V x) {
    return exp_in_range(most(x, splat(-87.0f)));
}

// n ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)), by Cephes' logf (as above); x positive, finite and normal.
LW_INLINE V fast_log(V x) {
    const Simd<kLanes>::i32 exponent = (bits(x) - 0x3f3504f3) >> 23; // of x / sqrt(1/2)
    const V n = to_float(exponent), f = from_bits(bits(x) - (exponent << 23)) - splat(1.0f), square = f * f;
    V p = splat(7.0376836292e-2f);
    p = p * f - splat(1.1514610310e-1f);
    p = p * f + splat(1.1676998740e-1f);
    p = p * f - splat(1.2420140846e-1f);
    p = p * f + splat(1.4249322787e-1f);
    p = p * f - splat(1.6668057665e-1f);
    p = p * f + splat(2.0000714765e-1f);
    p = p * f - splat(2.4999993993e-1f);
    p = p * f + splat(3.3333331174e-1f);
    p = p * f * square - n * splat(2.12194440e-4f) - splat(0.5f) * square;
    return (f + p) + n * splat(0.693359375f);
}

LW_INLINE V fast_sigmoid(V x) {
    return splat(1.0f) / (splat(1.0f) + fast_exp(-x));
}

// (1 - e) / (1 + e) with e = exp(-2 |x|): half the error of 2 sigmoid(2 x) - 1.
LW_INLINE V fast_tanh(V x) {
    const V e = exp_of_negative(splat(-2.0f) * magnitude(x));
    return with_sign((splat(1.0f) - e) / (splat(1.0f) + e), x);
}

} // namespace lanewise::LANEWISE_ISA
