// One teacher-forced GRU segment: shapes, inputs, what the forward pass keeps for the backward pass.
#pragma once
#include <cstddef>
#include <cstdint>

namespace lanewise_train {

constexpr int kMaxBands = 16;

struct Segment {
    int batch, steps, frames, steps_per_frame, bands, levels, hidden; // hidden is a multiple of 32
    const uint8_t* indices; // (batch, steps, bands) quantised previous samples
    const float* tables;    // (bands, levels, 3 hidden) embedding times input matrix
    const float* cond;      // (batch, frames, 3 hidden) conditioning times input matrix, input bias included
    const float* w_hh;      // (3 hidden, hidden), gates r, z, n
    const float* b_hh;      // (3 hidden)
    const float* h0;        // (batch, hidden)
    float* h;               // (batch, steps, hidden) out
    float* gates;           // (batch, steps, 4 hidden) out: reset, update, candidate, recurrent part of the candidate
};

#define LW_DECLARE(isa)                                                                                                \
    namespace isa {                                                                                                    \
    void forward(const Segment& s, int first_row, int last_row);                                                       \
    void backward(const Segment& s, const float* grad_h, float* grad_a, float* grad_un, float* grad_h0, int first_row, \
                  int last_row);                                                                                       \
    void scatter(const Segment& s, const float* grad_a, float* grad_tables, float* grad_cond, int first_column,        \
                 int last_column);                                                                                     \
    void outer(const Segment& s, const float* grad_a, const float* grad_un, float* grad_w, int first_row,              \
               int last_row);                                                                                          \
    }
LW_DECLARE(generic)
LW_DECLARE(avx2)
LW_DECLARE(avx512)
#undef LW_DECLARE

} // namespace lanewise_train
