// Compiled once per ISA (see CMakeLists.txt): fills that ISA's table of kernels.
#include "delta_columns.hpp"
#include "fft_kernels.hpp"
#include "kernels.hpp"
#include "layers.hpp"
#include "lstm.hpp"
#include "matvec.hpp"
#include "matvec_block.hpp"
#include "matvec_columns.hpp"
#include "matvec_rows.hpp"
#include "matvec_strips.hpp"
#include "matvec_vnni.hpp"
#include "peak.hpp"

namespace lanewise::LANEWISE_ISA {

constexpr MatVecEntry kProducts[] = {
    {Layout::dense, Number::f32, 1, 1, dense},
    {Layout::row_group, Number::f32, 4, 1, row_group<4>},
    {Layout::row_group, Number::f32, 8, 1, row_group<8>},
    {Layout::row_group, Number::f32, 16, 1, row_group<16>},
    {Layout::row_group, Number::f32, 32, 1, row_group<32>},
    {Layout::row_group, Number::f32, 16, 2, blocks<DotF32, 16, 2>},
    {Layout::row_group, Number::f32, 4, 4, blocks<DotF32, 4, 4>},
    {Layout::row_group, Number::f32, 8, 4, blocks<DotF32, 8, 4>},
    {Layout::row_group, Number::f32, 16, 4, blocks<DotF32, 16, 4>},
    {Layout::dot_group, Number::f32, 1, 1, dot_group<1>},
    {Layout::dot_group, Number::f32, 1, 4, dot_group<4>},
    {Layout::dot_group, Number::f32, 1, 8, dot_group<8>},
    {Layout::dot_group, Number::f32, 1, 16, dot_group<16>},
    {Layout::compact, Number::f32, 1, 1, compact},
    {Layout::kept_rows, Number::f32, 1, 1, rows_kept<dense>},
#ifndef LANEWISE_F32_ONLY
    {Layout::dense, Number::bf16, 1, 1, dense_words<DotBf16>},
    {Layout::row_group, Number::bf16, 16, 1, columns_bf16<16>},
    {Layout::row_group, Number::bf16, 16, 2, blocks<DotBf16, 16, 2>},
    {Layout::kept_rows, Number::bf16, 1, 1, rows_kept<dense_words<DotBf16>>},
    {Layout::dense, Number::int8, 1, 1, dense_words<DotInt8>},
    {Layout::row_group, Number::int8, 4, 4, blocks<DotInt8, 4, 4>},
    {Layout::row_group, Number::int8, 8, 4, blocks<DotInt8, 8, 4>},
    {Layout::row_group, Number::int8, 16, 4, blocks<DotInt8, 16, 4>},
    {Layout::kept_rows, Number::int8, 1, 1, rows_kept<dense_words<DotInt8>>},
#ifdef __AVX512VBMI__
    {Layout::row_group, Number::int8, 16, 1, columns_picked},
#else
    {Layout::row_group, Number::int8, 16, 1, columns_int8<16>},
#endif
#endif
};

extern const Kernels kernels;
const Kernels kernels = {
    .products = kProducts,
    .n_products = sizeof kProducts / sizeof *kProducts,
    .gru_gates = gru_gates<float>,
    .gru_gates_bf16 = gru_gates<std::uint16_t>,
    .gru_gates_int8 = gru_gates<std::int8_t>,
    .lstm_gates = lstm_gates,
    .changed = changed,
    .add_columns = add_columns,
    .bias_relu = bias_relu,
    .add_bias_relu = add_bias_relu,
    .normalise = normalise,
    .sample = sample,
    .synthesise = synthesise,
    .spectrum = spectrum,
    .overlap_add = overlap_add,
    .magnitudes = magnitudes,
    .exp = exp_array,
    .log = log_array,
    .sigmoid = sigmoid_array,
    .tanh = tanh_array,
    .read = read,
    .peak_f32 = peak_f32,
    .peak_bf16 = peak_bf16,
    .peak_int8 = peak_int8,
};

} // namespace lanewise::LANEWISE_ISA
