// What one 32-bit lane of a dot product does, per number format: one f32, a pair of bf16 or four int8 at a time. A
// kernel reads weights and inputs as words, K columns each; here they are multiplied and summed.
#pragma once

#include "matrix.hpp"
#include "simd.hpp"

namespace lanewise::LANEWISE_ISA {

template <int L> using Words = typename Simd<L>::i32;

template <int L> LW_INLINE Words<L> load_words(const void* p) {
    Words<L> w;
    __builtin_memcpy(&w, p, sizeof w);
    return w;
}
template <int L> LW_INLINE Words<L> broadcast_word(const void* p) {
    std::int32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return word - Words<L>{};
}
template <int L> LW_INLINE Vec<L> as_floats(Words<L> w) {
    Vec<L> v;
    __builtin_memcpy(&v, &w, sizeof v);
    return v;
}

// An input as a product reads it: words, K columns each, zeros behind the last column.
struct Input {
    const unsigned char* words;
    float scale; // int8: of one step
};

struct DotF32 {
    static constexpr int kColumns = 1;
    template <int L> using Sum = Vec<L>;

    static Input prepare(const float* x, std::size_t, float*) { return {reinterpret_cast<const unsigned char*>(x), 1}; }
    template <int L> LW_INLINE static Sum<L> start(const MatrixView&, std::size_t) { return Sum<L>{}; }
    template <int L> LW_INLINE static Sum<L> add(Sum<L> sum, Words<L> w, Words<L> x) {
        return sum + as_floats<L>(w) * as_floats<L>(x);
    }
    template <int L> LW_INLINE static Vec<L> finish(const MatrixView&, std::size_t, Sum<L> sum, const Input&) {
        return sum;
    }
};

// ---- bf16 ----------------------------------------------------------------------------------------------------------

// The even and the odd column of words of two bf16.
template <int L> LW_INLINE Vec<L> even(Words<L> w) {
    return as_floats<L>(w << 16);
}
template <int L> LW_INLINE Vec<L> odd(Words<L> w) {
    return as_floats<L>(w & static_cast<std::int32_t>(0xffff0000));
}

// Rounds to the nearest bf16, ties to even; NaN stays NaN.
LW_INLINE std::uint16_t to_bf16(float x) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    if (x != x)
        return static_cast<std::uint16_t>(bits >> 16 | 0x40);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct DotBf16 {
    static constexpr int kColumns = 2;
    template <int L> using Sum = Vec<L>;

    static Input prepare(const float* x, std::size_t cols, float* scratch) {
        auto* words = reinterpret_cast<unsigned char*>(scratch);
        std::size_t i = 0;
#ifdef __AVX512BF16__
        for (; i + 16 <= cols; i += 16) {
            const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
            __builtin_memcpy(words + 2 * i, &rounded, sizeof rounded);
        }
#endif
        for (; i < cols; ++i) {
            const std::uint16_t rounded = to_bf16(x[i]);
            __builtin_memcpy(words + 2 * i, &rounded, sizeof rounded);
        }
        __builtin_memset(words + 2 * cols, 0, kInputPadding);
        return {words, 1.0f};
    }
    template <int L> LW_INLINE static Sum<L> start(const MatrixView&, std::size_t) { return Sum<L>{}; }
    template <int L> LW_INLINE static Sum<L> add(Sum<L> sum, Words<L> w, Words<L> x) {
#ifdef __AVX512BF16__
        if constexpr (L == 16)
            return (Vec<16>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)x);
#endif
        sum += even<L>(w) * even<L>(x);
        return sum + odd<L>(w) * odd<L>(x);
    }
    template <int L> LW_INLINE static Vec<L> finish(const MatrixView&, std::size_t, Sum<L> sum, const Input&) {
        return sum;
    }
};

// ---- int8 ----------------------------------------------------------------------------------------------------------

struct DotInt8 {
    static constexpr int kColumns = 4;
    template <int L> using Sum = Words<L>;

    // VNNI multiplies unsigned by signed: inputs are stored as q + 128, and sums start at minus what that adds.
#ifdef __AVX512VNNI__
    static constexpr int kBias = 128;
#else
    static constexpr int kBias = 0;
#endif
    // Inputs this small are zero: the inverse of their step would overflow.
    static constexpr float kLeast = 1e-30f;

    // Symmetric: the greatest magnitude becomes 127, ties go to even. If an input is NaN or infinite, so is the scale.
    static Input prepare(const float* x, std::size_t cols, float* scratch) {
        auto* words = reinterpret_cast<unsigned char*>(scratch);
        const float greatest = greatest_magnitude(x, cols);
        const float inverse = greatest > kLeast ? 127.0f / greatest : 0.0f; // 0 for NaN
        std::size_t i = 0;
#ifdef __AVX512F__
        const __m512 factor = _mm512_set1_ps(inverse);
        for (; i + 16 <= cols; i += 16) {
            // (The forms without a mask make GCC 12 warn of its own header.)
            const __m512i q = _mm512_maskz_cvtps_epi32(0xffff, _mm512_mul_ps(_mm512_loadu_ps(x + i), factor));
            const __m128i bytes =
                _mm_xor_si128(_mm512_maskz_cvtepi32_epi8(0xffff, q), _mm_set1_epi8(static_cast<char>(kBias)));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(words + i), bytes);
        }
#elif defined(__AVX2__)
        const __m256 factor = _mm256_set1_ps(inverse);
        for (; i + 8 <= cols; i += 8) {
            const __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
            const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
            _mm_storel_epi64(reinterpret_cast<__m128i*>(words + i), _mm_packs_epi16(half, half));
        }
#endif
        for (; i < cols; ++i)
            words[i] = static_cast<unsigned char>(__builtin_lrintf(x[i] * inverse) + kBias);
        __builtin_memset(words + cols, 0, kInputPadding);
        return {words, greatest / 127.0f};
    }
    template <int L> LW_INLINE static Sum<L> start(const MatrixView& m, std::size_t row) {
        return kBias ? -load_words<L>(m.offsets + row) : Sum<L>{};
    }
    template <int L> LW_INLINE static Sum<L> add(Sum<L> sum, Words<L> w, Words<L> x) {
#if defined(__AVX512VNNI__)
        if constexpr (L == 16)
            return (Sum<16>)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
        else if constexpr (L == 8)
            return (Sum<8>)_mm256_dpbusd_epi32((__m256i)sum, (__m256i)x, (__m256i)w);
        else
            return (Sum<4>)_mm_dpbusd_epi32((__m128i)sum, (__m128i)x, (__m128i)w);
#elif defined(__AVX2__)
        // |x| times w with x's sign. Two products of at most 127 * 127 fit into 16 bits.
        if constexpr (L == 16) {
#ifdef __AVX512BW__
            const __m512i signed_w =
                _mm512_mask_sub_epi8((__m512i)w, _mm512_movepi8_mask((__m512i)x), __m512i{}, (__m512i)w);
            const __m512i pairs = _mm512_maddubs_epi16(_mm512_maskz_abs_epi8(~__mmask64{0}, (__m512i)x), signed_w);
            return sum + (Sum<16>)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#endif
        } else if constexpr (L == 8) {
            const __m256i signed_w = _mm256_sign_epi8((__m256i)w, (__m256i)x);
            const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)x), signed_w);
            return sum + (Sum<8>)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
        } else {
            const __m128i signed_w = _mm_sign_epi8((__m128i)w, (__m128i)x);
            const __m128i pairs = _mm_maddubs_epi16(_mm_abs_epi8((__m128i)x), signed_w);
            return sum + (Sum<4>)_mm_madd_epi16(pairs, _mm_set1_epi16(1));
        }
#elif defined(__ARM_FEATURE_DOTPROD)
        if constexpr (L == 4)
            return (Sum<4>)vdotq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)x);
#endif
#ifndef __AVX2__
        for (int shift = 24; shift >= 0; shift -= 8)
            sum += ((w << shift) >> 24) * ((x << shift) >> 24);
        return sum;
#endif
    }
    template <int L>
    LW_INLINE static Vec<L> finish(const MatrixView& m, std::size_t row, Sum<L> sum, const Input& input) {
        const Vec<L> scale = load<L>(m.scales + row) * broadcast<L>(input.scale);
        if constexpr (L == 1)
            return static_cast<float>(sum) * scale;
        else
            return __builtin_convertvector(sum, Vec<L>) * scale;
    }

private:
    // Compared as whole numbers, which orders magnitudes as floats do, and puts NaN above all.
    static float greatest_magnitude(const float* x, std::size_t n) {
        Words<kLanes> lanes[4] = {};
        std::size_t i = 0;
        for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v)
                lanes[v] = most(lanes[v], bits(magnitude(load<kLanes>(x + i + v * kLanes))));
        }
        for_vectors(n - i, [&](std::size_t at, std::size_t left) {
            lanes[0] = most(lanes[0], bits(magnitude(load_n(x + i + at, left))));
        });
        const Words<kLanes> all = most(most(lanes[0], lanes[1]), most(lanes[2], lanes[3]));
        std::int32_t each[kLanes], greatest = 0;
        __builtin_memcpy(each, &all, sizeof each);
        for (const std::int32_t one : each)
            greatest = one > greatest ? one : greatest;
        float magnitude;
        __builtin_memcpy(&magnitude, &greatest, sizeof magnitude);
        return magnitude;
    }
};

} // namespace lanewise::LANEWISE_ISA
