// Compiled once per ISA (see CMakeLists.txt): fills that ISA's table of kernels.
#include "kernels.hpp"
#include "layers.hpp"
#include "matvec.hpp"

namespace lanewise::LANEWISE_ISA {

extern const Kernels kernels;
const Kernels kernels = {
    .dense = dense,
    .row_group_4 = row_group<4>,
    .row_group_8 = row_group<8>,
    .row_group_16 = row_group<16>,
    .row_group_32 = row_group<32>,
    .dot_group_1 = dot_group<1>,
    .dot_group_4 = dot_group<4>,
    .dot_group_8 = dot_group<8>,
    .dot_group_16 = dot_group<16>,
    .compact = compact,
    .gru_gates = gru_gates<float>,
    .gru_gates_bf16 = gru_gates<std::uint16_t>,
    .gru_gates_int8 = gru_gates<std::int8_t>,
    .bias_relu = bias_relu,
    .add_bias_relu = add_bias_relu,
    .normalise = normalise,
    .sample = sample,
    .synthesise = synthesise,
    .exp = exp_array,
    .sigmoid = sigmoid_array,
    .tanh = tanh_array,
    .read = read,
};

} // namespace lanewise::LANEWISE_ISA
