// The table of kernels that each ISA fills; a layer picks its functions once, when it is loaded.
#pragma once

#include "matrix.hpp"

#include <cstddef>
#include <cstdint>

namespace lanewise {

// y (rows) = m x. NaN or infinite inputs make every output that a kept weight ties to them NaN or infinite (in int8,
// whose inputs share a scale, every output). x needs kInputPadding readable finite floats behind its end; scratch needs
// cols + kInputPadding floats, aligned to 64 bytes (x is gathered or converted into it), and must not overlap.
using MatVecFn = void (*)(const MatrixView& m, const float* x, float* y, float* scratch);

// One kernel of an ISA and the matrices that it is for.
struct MatVecEntry {
    Layout layout;
    Number number;
    std::uint32_t tile_rows, tile_cols;
    MatVecFn run;
};

constexpr int kMaxBands = 16;
constexpr int kMaxMixtures = 16;
constexpr int kLevels = 256;
constexpr int kProbes = 16; // bin edges tested at once when sampling; two rounds find one of 256 levels

// Bin edges of the quantiser in the order of the two rounds of a search; see make_edges().
struct Edges {
    alignas(kAlignment) float coarse[kProbes];
    alignas(kAlignment) float fine[kLevels];
    double exact[kLevels - 1];
};

// Smallest log-scale of a logistic, a floor shared with the model.
constexpr float kLeastLogScale = -9.0f;

struct Mixture {
    int bands, mixtures;
    double temperature;
    const Edges* edges;
    const float* bias; // (bands, 3, mixtures), added to the parameters
};

struct GruStep {
    std::size_t hidden;
    const float* conditioning;         // (3 * hidden): w_cond c + biases of this frame
    const void* table_rows[kMaxBands]; // one row (3 * hidden) of each band's embedding table
    int bands;
    const float* recurrent;        // (3 * hidden): w_hh h
    const float* recurrent_bias_n; // (hidden)
    float row_scales[kMaxBands];   // of int8 rows
};

struct Synthesis {
    std::size_t bands, taps; // taps per band, a multiple of bands
    const float* filters;    // (bands, taps)
};

// Inputs of one LSTM update, gates in the order i, f, g, o; each (4 * hidden).
struct LstmStep {
    std::size_t hidden;
    const float *input, *bias, *recurrent; // w_ih x, bias, w_hh h
};

// Tables of a real transform of n samples, see fft.hpp.
struct FftView {
    std::size_t n;
    const float* twiddles; // by pass and power 1..3: real, then imaginary parts of n / 8 butterflies
    const float* turns;    // exp(-2 pi i k / n), k < n / 2: real, then imaginary parts
};

struct Kernels {
    const MatVecEntry* products;
    std::size_t n_products;

    // h (hidden) is updated in place. Table rows: f32, the upper halves of f32 (bf16), or int8 to be scaled.
    void (*gru_gates)(const GruStep& step, float* h);
    void (*gru_gates_bf16)(const GruStep& step, float* h);
    void (*gru_gates_int8)(const GruStep& step, float* h);
    // c and h (hidden) are updated in place.
    void (*lstm_gates)(const LstmStep& step, float* c, float* h);
    // Of a delta network, see delta.hpp: lists the inputs that moved (column and change, each with room for n +
    // kInputPadding), and adds their columns of a dense f32 layout to y (rows).
    std::size_t (*changed)(std::size_t n, float threshold, const float* x, float* used, std::uint32_t* column,
                           float* change);
    void (*add_columns)(const float* w, std::size_t rows, std::size_t cols, const std::uint32_t* column,
                        const float* change, std::size_t n, float* y);
    // y = relu(y + bias)
    void (*bias_relu)(std::size_t n, const float* bias, float* y);
    // y += relu(x + bias)
    void (*add_bias_relu)(std::size_t n, const float* x, const float* bias, float* y);
    // y = (x - offset) * scale
    void (*normalise)(std::size_t n, const float* x, const float* offset, const float* scale, float* y);
    // Draws one level per band from mixtures of logistics. parameters: (bands, 3, mixtures) logits, means, log-scales;
    // uniform: (bands) in (0, 1). Returns whether every level is beyond doubt; see exact.hpp for when not.
    bool (*sample)(const Mixture& mixture, const float* parameters, const double* uniform, std::uint8_t* level);
    // bands: planar (bands, stride) with taps / bands - 1 steps of history before each plane's pointer `bands + b *
    // stride`; writes out (steps * bands).
    void (*synthesise)(const Synthesis& filters, const float* bands, std::size_t stride, std::size_t steps, float* out);
    // Bins (n / 2 + 1), in two parts, of n samples times a window; scratch: 2 n floats.
    void (*spectrum)(const FftView& fft, const float* x, const float* window, float* re, float* im, float* scratch);
    // The inverse: adds the samples, times n / 2 and the window, to sum (n). The imaginary parts of the first and the
    // last bin are not read.
    void (*overlap_add)(const FftView& fft, const float* re, const float* im, const float* window, float* sum,
                        float* scratch);
    // y = |re + i im|
    void (*magnitudes)(std::size_t n, const float* re, const float* im, float* y);
    // y[i] = exp, log, sigmoid, tanh of x[i]: the approximations that the layers use. log takes positive normal
    // numbers.
    void (*exp)(std::size_t n, const float* x, float* y);
    void (*log)(std::size_t n, const float* x, float* y);
    void (*sigmoid)(std::size_t n, const float* x, float* y);
    void (*tanh)(std::size_t n, const float* x, float* y);
    // OR of all whole vectors of a buffer, read with the widest loads.
    std::uint64_t (*read)(const void* buffer, std::size_t bytes);
    // Multiply-adds from registers alone, `steps` rounds of them; return the operations done, 0 where the host lacks
    // the format's instruction.
    std::uint64_t (*peak_f32)(std::uint64_t steps);
    std::uint64_t (*peak_bf16)(std::uint64_t steps);
    std::uint64_t (*peak_int8)(std::uint64_t steps);
};

} // namespace lanewise
