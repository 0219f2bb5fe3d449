// Heads and sampling in double precision, for the few draws that rounding could decide: a level is then a property of
// the state and the random number, not of an ISA's order of sums. Slow, rarely run.
#pragma once

#include "kernels.hpp"

namespace lanewise {

class ExactHead {
public:
    // The layers f = relu(fc h + fc_bias), p = out f + out_bias, of f32 weights; all of them must outlive this.
    ExactHead(const MatrixView& fc, const float* fc_bias, const MatrixView& out, const float* out_bias);

    // Numbers that `sample` needs to work in.
    std::size_t scratch_size() const { return fc_.weights.rows + out_.weights.rows; }
    // One level per band, from the state h and uniform (bands) in (0, 1).
    void sample(const Mixture& mixture, const float* h, const double* uniform, double* scratch,
                std::uint8_t* level) const;

private:
    struct Layer {
        template <typename T> void operator()(const T* x, double* y) const;

        MatrixView weights; // as packed: unfolded, a sparse one may take several times the whole file's bytes
        const float* bias;  // (rows)
    };
    Layer fc_, out_;
};

} // namespace lanewise
