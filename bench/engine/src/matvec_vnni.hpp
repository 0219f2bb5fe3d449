// int8 tiles 16 x 1 with AVX-512 VNNI and VBMI: 64 inputs are picked at once by permuting vectors of them.
//
// A page is what one permutation picks from, 128 inputs; four pages, without a branch, cover the usual span of 64 kept
// columns. Tried on Zen 5, time in units of this: one load per input 3.5; a loop over just the pages needed 1.1 to 1.4;
// compressing inputs by the bits of the kept columns 1.1 to 1.3 at H 512, 0.9 to 1.2 at H 1024 (vpcompressb: 5 cycles);
// eight pages, all of H 1024, in 16 registers 0.97 to 1.07.
// Picking the words of tiles G x 4 or 16 x 2 like this took 1.0 to 1.7 times as long (4 x 4: 0.8 to 1.8) as one
// broadcast per tile, though loads are what limits those; so did, for 8 x 4, two tiles to a vector with a masked or
// inserted broadcast (1.05 to 1.1).
#pragma once

#include "matvec_block.hpp"

#ifdef __AVX512VBMI__

namespace lanewise::LANEWISE_ISA {

constexpr std::size_t kPage = 128;
constexpr int kPages = 4;

LW_INLINE __m512i load_512(const void* p) {
    return _mm512_loadu_si512(p);
}

// kPages pages of inputs from `first` on.
struct Pages {
    __m512i low[kPages], high[kPages];

    LW_INLINE explicit Pages(const unsigned char* first) {
#pragma GCC unroll 4
        for (int p = 0; p < kPages; ++p) {
            low[p] = load_512(first + kPage * static_cast<std::size_t>(p));
            high[p] = load_512(first + kPage * static_cast<std::size_t>(p) + kPage / 2);
        }
    }
};

// The 64 inputs at `offset` into the pages; odd and upper: whether the page is 1 or 3, and whether it is 2 or 3.
LW_INLINE __m512i pick(const Pages& pages, __m512i offset, __mmask64 odd, __mmask64 upper) {
    __m512i page[kPages];
#pragma GCC unroll 4
    for (int p = 0; p < kPages; ++p)
        page[p] = _mm512_permutex2var_epi8(pages.low[p], offset, pages.high[p]);
    return _mm512_mask_mov_epi8(_mm512_mask_mov_epi8(page[0], odd, page[1]), upper,
                                _mm512_mask_mov_epi8(page[2], odd, page[3]));
}

// Bytes at 64 increasing columns; from `used` on arbitrary.
template <bool kWhole>
LW_INLINE __m512i gather(const Pages& pages, const unsigned char* x, const std::uint16_t* index, std::size_t used) {
    const __m512i a = load_512(index), b = load_512(index + 32);
    const auto among = [](const Pages& from, __m512i a, __m512i b) __attribute__((always_inline)) {
        const auto bit = [a, b](short which) __attribute__((always_inline)) {
            const __m512i bits = _mm512_set1_epi16(which);
            return _mm512_kunpackd(_mm512_test_epi16_mask(b, bits), _mm512_test_epi16_mask(a, bits));
        };
        const __m512i narrow =
            _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(_mm512_maskz_cvtepi16_epi8(~__mmask32{0}, a)),
                                     _mm512_maskz_cvtepi16_epi8(~__mmask32{0}, b), 1);
        return pick(from, narrow, bit(128), bit(256));
    };
    if constexpr (kWhole)
        return among(pages, a, b);
    constexpr std::size_t kBytes = kPages * kPage;
    const std::size_t first = index[0] / 64 * 64u, last = index[used - 1];
    const __m512i step = _mm512_set1_epi16(kBytes), base = _mm512_set1_epi16(static_cast<short>(first));
    __m512i near = _mm512_sub_epi16(a, base), far = _mm512_sub_epi16(b, base);
    __m512i found = among(Pages(x + first), near, far);
    for (std::size_t begin = first + kBytes; begin <= last; begin += kBytes) {
        near = _mm512_sub_epi16(near, step);
        far = _mm512_sub_epi16(far, step);
        const __mmask64 here = _mm512_kunpackd(_mm512_cmplt_epu16_mask(far, step), _mm512_cmplt_epu16_mask(near, step));
        found = _mm512_mask_mov_epi8(found, here, among(Pages(x + begin), near, far));
    }
    return found;
}

// Four words, in every quarter of a vector, times 16 rows each.
template <Ahead kAhead> LW_INLINE void add_four(Words<16>* sum, __m512i words, const unsigned char* w) {
    const __m512i xs[4] = {_mm512_maskz_shuffle_epi32(0xffff, words, static_cast<_MM_PERM_ENUM>(0x00)),
                           _mm512_maskz_shuffle_epi32(0xffff, words, static_cast<_MM_PERM_ENUM>(0x55)),
                           _mm512_maskz_shuffle_epi32(0xffff, words, static_cast<_MM_PERM_ENUM>(0xaa)),
                           _mm512_maskz_shuffle_epi32(0xffff, words, static_cast<_MM_PERM_ENUM>(0xff))};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        look_ahead<kAhead>(w, 64 * i);
        sum[i] = DotInt8::add<16>(sum[i], load_words<16>(w + 64 * i), (Words<16>)xs[i]);
    }
}

// Tiles 16 x 1 in int8, four kept columns to a word.
template <bool kWhole, Ahead kAhead>
void columns_picked_at(const MatrixView& m, const float* x, float* y, float* scratch) {
    alignas(64) float room[kPages * kPage / sizeof(float) + kInputPadding]; // short inputs: whole pages are read
    const Input input = DotInt8::prepare(x, m.cols, kWhole ? room : scratch);
    const auto* w = static_cast<const unsigned char*>(m.weights);
    const std::uint16_t* index = m.index;
    const Pages pages(input.words);
    for_strips<16>(m, [&](std::size_t row, std::size_t rows, std::size_t kept) __attribute__((always_inline)) {
        Words<16> sum[8] = {};
        std::size_t k = 0;
        for (; k + 64 <= kept; k += 64, w += 1024) {
            const __m512i words = gather<kWhole>(pages, input.words, index + k, 64);
            add_four<kAhead>(sum, _mm512_maskz_shuffle_i32x4(0xffff, words, words, 0x00), w);
            add_four<kAhead>(sum + 4, _mm512_maskz_shuffle_i32x4(0xffff, words, words, 0x55), w + 256);
            add_four<kAhead>(sum, _mm512_maskz_shuffle_i32x4(0xffff, words, words, 0xaa), w + 512);
            add_four<kAhead>(sum + 4, _mm512_maskz_shuffle_i32x4(0xffff, words, words, 0xff), w + 768);
        }
        if (k < kept) {
            const std::size_t chunks = (kept - k + 3) / 4;
            // The last four words may reach into the next line's weights: those inputs are zero.
            __m512i words = _mm512_maskz_mov_epi32(static_cast<__mmask16>((1u << chunks) - 1),
                                                   gather<kWhole>(pages, input.words, index + k, kept - k));
            for (std::size_t i = 0; i < chunks; i += 4) {
                add_four<kAhead>(sum, _mm512_maskz_shuffle_i32x4(0xffff, words, words, 0x00), w + 64 * i);
                words = _mm512_maskz_shuffle_i32x4(0xffff, words, words, 0x39);
            }
            w += 64 * chunks;
        }
        index += kept;
        Words<16> total[1] = {((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]))};
        store_strip<DotInt8, 16, 16>(m, row, rows, total, input, y);
    });
}

inline void columns_picked(const MatrixView& m, const float* x, float* y, float* scratch) {
    with_ahead(ahead_of(m), [&](auto a) {
        constexpr MatVecFn kBy[2] = {columns_picked_at<false, a.value>, columns_picked_at<true, a.value>};
        kBy[m.cols <= kPages * kPage](m, x, y, scratch);
    });
}

} // namespace lanewise::LANEWISE_ISA

#endif
