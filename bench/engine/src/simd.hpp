// Vectors of L floats through the compiler's vector extensions: one source for every ISA.
// Included by kernels_isa.cpp only, which is compiled once per ISA with LANEWISE_ISA (a namespace) and LANEWISE_LANES.
// No standard template is used below this line: an inline function compiled for a wide ISA must never be shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef __SSE4_2__
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace lanewise::LANEWISE_ISA {

constexpr int kLanes = LANEWISE_LANES;

template <int L> struct Simd {
    typedef float f32 __attribute__((vector_size(L * sizeof(float))));
    typedef std::int32_t i32 __attribute__((vector_size(L * sizeof(std::int32_t))));
};
template <> struct Simd<1> {
    typedef float f32;
    typedef std::int32_t i32;
};
template <int L> using Vec = typename Simd<L>::f32;
using V = Vec<kLanes>;

#define LW_INLINE [[gnu::always_inline]] inline

template <int L> LW_INLINE Vec<L> load(const float* p) {
    Vec<L> v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
template <int L> LW_INLINE void store(float* p, Vec<L> v) {
    __builtin_memcpy(p, &v, sizeof v);
}
// First n lanes only (n < L); the others load as 0.
template <int L> LW_INLINE Vec<L> load_some(const float* p, std::size_t n) {
    float lanes[L] = {};
    __builtin_memcpy(lanes, p, n * sizeof(float));
    return load<L>(lanes);
}
template <int L> LW_INLINE void store_some(float* p, Vec<L> v, std::size_t n) {
    float lanes[L];
    store<L>(lanes, v);
    __builtin_memcpy(p, lanes, n * sizeof(float));
}
// s in every lane; x - 0 is the only zero the compiler may drop (x + 0 turns -0 into 0).
template <int L> LW_INLINE Vec<L> broadcast(float s) {
    return s - Vec<L>{};
}
// Adds the upper half of the lanes to the lower until `To` lanes are left.
template <int L, int To> LW_INLINE Vec<To> fold(Vec<L> v) {
    if constexpr (L == To) {
        return v;
    } else {
        Vec<L / 2> low, high;
        __builtin_memcpy(&low, &v, sizeof low);
        __builtin_memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
        return fold<L / 2, To>(low + high);
    }
}
template <int L> LW_INLINE float sum(Vec<L> v) {
    return fold<L, 1>(v);
}
// Lanes in which a comparison held (-1; elsewhere 0). The compiler alone adds lane by lane, which doubled the time of
// sampling.
template <int L, typename Mask> LW_INLINE int count_true(Mask mask) {
#ifdef __AVX512DQ__
    if constexpr (L == 16)
        return __builtin_popcount(_mm512_movepi32_mask((__m512i)mask));
#endif
#ifdef __AVX2__
    if constexpr (L == 8)
        return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps((__m256)mask)));
#endif
#ifdef __SSE4_2__
    if constexpr (L == 4)
        return __builtin_popcount(static_cast<unsigned>(_mm_movemask_ps((__m128)mask)));
#endif
#ifdef __ARM_NEON
    if constexpr (L == 4)
        return -vaddvq_s32((int32x4_t)mask);
#endif
    if constexpr (L == 1)
        return mask;
}
// kLanes narrow integers as wide ones. The compiler alone converts lane by lane, which tripled the time of the gates.
template <typename T> LW_INLINE Simd<kLanes>::i32 load_wide(const T* p) {
    constexpr bool kSigned = T(-1) < T(0);
    static_assert(sizeof(T) == (kSigned ? 1 : 2), "int8 or uint16");
#if LANEWISE_LANES == 16
    if constexpr (kSigned)
        return (Simd<kLanes>::i32)_mm512_maskz_cvtepi8_epi32(0xffff,
                                                             _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p)));
    else
        return (Simd<kLanes>::i32)_mm512_maskz_cvtepu16_epi32(
            0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p)));
#elif LANEWISE_LANES == 8
    if constexpr (kSigned)
        return (Simd<kLanes>::i32)_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(p)));
    else
        return (Simd<kLanes>::i32)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p)));
#elif LANEWISE_LANES == 4 && defined(__SSE4_2__)
    if constexpr (kSigned)
        return (Simd<kLanes>::i32)_mm_cvtepi8_epi32(_mm_loadu_si32(p));
    else
        return (Simd<kLanes>::i32)_mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(p)));
#elif LANEWISE_LANES == 4
    return Simd<kLanes>::i32{p[0], p[1], p[2], p[3]};
#else
    return *p;
#endif
}
// F depends on a parameter so that Clang leaves the branch not taken alone.
template <typename I, typename F = V> LW_INLINE F to_float(I v) {
    if constexpr (sizeof(I) == sizeof(std::int32_t))
        return static_cast<F>(v);
    else
        return __builtin_convertvector(v, F);
}
// a < b ? a : b, and with >; the compiler alone makes two instructions of each (and GCC 12 warns of the plain
// intrinsic, hence the mask).
LW_INLINE V least(V a, V b) {
#if LANEWISE_LANES == 16
    return (V)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b);
#elif LANEWISE_LANES == 8
    return (V)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return a < b ? a : b;
#endif
}
LW_INLINE V most(V a, V b) {
#if LANEWISE_LANES == 16
    return (V)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
#elif LANEWISE_LANES == 8
    return (V)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return a > b ? a : b;
#endif
}
LW_INLINE Simd<kLanes>::i32 most(Simd<kLanes>::i32 a, Simd<kLanes>::i32 b) {
    return a > b ? a : b;
}
LW_INLINE Simd<kLanes>::i32 bits(V v) {
    Simd<kLanes>::i32 b;
    __builtin_memcpy(&b, &v, sizeof b);
    return b;
}
LW_INLINE V from_bits(Simd<kLanes>::i32 b) {
    V v;
    __builtin_memcpy(&v, &b, sizeof v);
    return v;
}
LW_INLINE V magnitude(V v) {
    return from_bits(bits(v) & 0x7fffffff);
}
// v >= 0 with the sign of `sign`.
LW_INLINE V with_sign(V v, V sign) {
    return from_bits(bits(v) | (bits(sign) & static_cast<std::int32_t>(0x80000000)));
}
// Lanes in the opposite order.
LW_INLINE V reversed(V v) {
#if LANEWISE_LANES == 16
    const __m512i order = _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return (V)_mm512_maskz_permutexvar_ps(0xffff, order, (__m512)v);
#elif LANEWISE_LANES == 8
    return (V)_mm256_permutevar8x32_ps((__m256)v, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
#elif LANEWISE_LANES == 4 && defined(__SSE4_2__)
    return (V)_mm_shuffle_ps((__m128)v, (__m128)v, 0x1b);
#elif LANEWISE_LANES == 4
    return V{v[3], v[2], v[1], v[0]};
#else
    return v;
#endif
}
// Writes lane by lane what the four vectors hold there: a[0], b[0], c[0], d[0], a[1], ... (One float at a time took
// more than the rest of a Fourier transform.)
LW_INLINE void interleave(float* y, V a, V b, V c, V d) {
#if defined(__ARM_NEON) && LANEWISE_LANES == 4
    vst4q_f32(y, float32x4x4_t{{(float32x4_t)a, (float32x4_t)b, (float32x4_t)c, (float32x4_t)d}});
#elif defined(__SSE4_2__) && LANEWISE_LANES >= 4
    float rows[4][kLanes];
    store<kLanes>(rows[0], a), store<kLanes>(rows[1], b), store<kLanes>(rows[2], c), store<kLanes>(rows[3], d);
#pragma GCC unroll 4
    for (int lane = 0; lane < kLanes; lane += 4, y += 16) {
        __m128 r[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k)
            r[k] = _mm_loadu_ps(rows[k] + lane);
        _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k)
            _mm_storeu_ps(y + 4 * k, r[k]);
    }
#else
    y[0] = a, y[1] = b, y[2] = c, y[3] = d;
#endif
}
LW_INLINE V splat(float s) {
    return broadcast<kLanes>(s);
}

// Calls body(position, lanes) over n floats: whole vectors, then the rest (lanes < kLanes).
template <typename Body> LW_INLINE void for_vectors(std::size_t n, Body body) {
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        body(i, static_cast<std::size_t>(kLanes));
    if (i < n)
        body(i, n - i);
}
template <int L = kLanes> LW_INLINE Vec<L> load_n(const float* p, std::size_t lanes) {
    if constexpr (L > 1) {
        if (lanes < L)
            return load_some<L>(p, lanes);
    }
    return load<L>(p);
}
template <int L = kLanes> LW_INLINE void store_n(float* p, Vec<L> v, std::size_t lanes) {
    if constexpr (L > 1) {
        if (lanes < L)
            return store_some<L>(p, v, lanes);
    }
    store<L>(p, v);
}

} // namespace lanewise::LANEWISE_ISA
