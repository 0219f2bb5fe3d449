// The most operations a second that this core can do per number format: the flat roofs of a roofline.
// Included by kernels_isa.cpp only. The 16- and 8-bit dot products carry their own target, so that they are measured
// on every host that has them, whatever this ISA's other kernels are compiled for.
#pragma once

#include "simd.hpp"

namespace lanewise::LANEWISE_ISA {

#ifdef __aarch64__
#define LW_REGISTER "+w"
#else
#define LW_REGISTER "+x"
#endif

constexpr int kPeakChains = 12; // 2 units x 4 cycles of latency need 8; more would spill where registers are 16

// `steps` rounds of fused multiply-adds on independent registers; returns the operations done (2 per lane).
inline std::uint64_t peak_f32(std::uint64_t steps) {
    V acc[kPeakChains] = {}, a = splat(1.0f), b = splat(1e-9f);
    asm volatile("" : LW_REGISTER(a), LW_REGISTER(b)); // constants could be folded away
    for (std::uint64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
        for (int k = 0; k < kPeakChains; ++k) {
            acc[k] += a * b;
            asm volatile("" : LW_REGISTER(acc[k]));
        }
    }
    return steps * kPeakChains * kLanes * 2;
}

#if LANEWISE_LANES == 16
[[gnu::target("avx512bf16")]] inline std::uint64_t peak_bf16(std::uint64_t steps) {
    if (!__builtin_cpu_supports("avx512bf16"))
        return 0;
    __m512 acc[kPeakChains] = {};
    __m512i bits = _mm512_set1_epi32(0x3f803f80);
    asm volatile("" : LW_REGISTER(bits));
    for (std::uint64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
        for (int k = 0; k < kPeakChains; ++k) {
            acc[k] = _mm512_dpbf16_ps(acc[k], (__m512bh)bits, (__m512bh)bits);
            asm volatile("" : LW_REGISTER(acc[k]));
        }
    }
    return steps * kPeakChains * 32 * 2;
}

[[gnu::target("avx512vnni")]] inline std::uint64_t peak_int8(std::uint64_t steps) {
    if (!__builtin_cpu_supports("avx512vnni"))
        return 0;
    __m512i acc[kPeakChains] = {}, bytes = _mm512_set1_epi8(1);
    asm volatile("" : LW_REGISTER(bytes));
    for (std::uint64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
        for (int k = 0; k < kPeakChains; ++k) {
            acc[k] = _mm512_dpbusd_epi32(acc[k], bytes, bytes);
            asm volatile("" : LW_REGISTER(acc[k]));
        }
    }
    return steps * kPeakChains * 64 * 2;
}
#else
inline std::uint64_t peak_bf16(std::uint64_t) {
    return 0;
}
#ifdef __ARM_FEATURE_DOTPROD
inline std::uint64_t peak_int8(std::uint64_t steps) {
    int32x4_t acc[kPeakChains] = {};
    int8x16_t bytes = vdupq_n_s8(1);
    asm volatile("" : LW_REGISTER(bytes));
    for (std::uint64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
        for (int k = 0; k < kPeakChains; ++k) {
            acc[k] = vdotq_s32(acc[k], bytes, bytes);
            asm volatile("" : LW_REGISTER(acc[k]));
        }
    }
    return steps * kPeakChains * 16 * 2;
}
#else
inline std::uint64_t peak_int8(std::uint64_t) {
    return 0;
}
#endif
#endif

#undef LW_REGISTER

} // namespace lanewise::LANEWISE_ISA
