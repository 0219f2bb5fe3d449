// Teacher-forced GRU over whole segments, forward and backward, one body compiled once per instruction set.
//
// Why not torch: at batch 32 a GRU of 256 spends most of torch's time in 25 small operators a step. Here a thread owns
// some batch rows for the whole segment, so nothing synchronises between steps, the recurrent product is a register-
// blocked matrix product that reads its weights from L2, and the embedding products are table rows (see gru.h).

#include "gru.h"

#include <cstring>
#include <vector>

#ifndef LW_ISA
#error "compile with -DLW_ISA=name -DLW_VECTOR_BYTES=n"
#endif

namespace lanewise_train::LW_ISA {
namespace {

constexpr int kLanes = LW_VECTOR_BYTES / 4;
typedef float Vec __attribute__((vector_size(LW_VECTOR_BYTES), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(LW_VECTOR_BYTES), aligned(4), may_alias));
constexpr int kRows = LW_VECTOR_BYTES == 64 ? 8 : 4; // batch rows of one register block
constexpr int kPanel = 2 * kLanes;                   // its columns: 16 (8) accumulators, enough to hide FMA latency

inline Vec load(const float* p) {
    return *reinterpret_cast<const Vec*>(p);
}
inline void store(float* p, Vec v) {
    *reinterpret_cast<Vec*>(p) = v;
}
inline Vec splat(float x) {
    return Vec{} + x;
}

// exp with relative error below 3e-7 on [-87, 87] (Cephes' degree-5 polynomial after range reduction by ln 2).
inline Vec exp_vec(Vec x) {
    x = x < -87.0f ? splat(-87.0f) : x;
    x = x > 87.0f ? splat(87.0f) : x;
    const Vec magic = splat(12582912.0f);
    const Vec n = (x * 1.44269504f + magic) - magic;
    const Vec f = x - n * 0.693359375f + n * 2.12194440e-4f;
    Vec p = f * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = p * f * f + f + 1.0f;
    const IntVec exponent = (__builtin_convertvector(n, IntVec) + 127) << 23;
    Vec scale;
    std::memcpy(&scale, &exponent, sizeof scale);
    return p * scale;
}
inline Vec sigmoid_vec(Vec x) {
    return 1.0f / (1.0f + exp_vec(-x));
}
inline Vec tanh_vec(Vec x) {
    return 2.0f / (1.0f + exp_vec(-2.0f * x)) - 1.0f;
}

// Weights as panels of kPanel columns: panel-major, then input, then column; each byte is read in order of use.
std::vector<float> pack_panels(const float* w, int inputs, int outputs, int input_stride, int output_stride) {
    std::vector<float> packed(static_cast<size_t>(inputs) * outputs);
    float* out = packed.data();
    for (int panel = 0; panel < outputs; panel += kPanel)
        for (int k = 0; k < inputs; ++k)
            for (int j = 0; j < kPanel; ++j)
                *out++ = w[size_t(k) * input_stride + size_t(panel + j) * output_stride];
    return packed;
}

template <int ROWS>
inline void block(const float* const* x, const float* panel, int inputs, float* const* y, int column) {
    Vec acc[ROWS][2] = {};
    for (int k = 0; k < inputs; ++k, panel += kPanel) {
        const Vec w0 = load(panel), w1 = load(panel + kLanes);
        for (int r = 0; r < ROWS; ++r) {
            const Vec v = splat(x[r][k]);
            acc[r][0] += v * w0;
            acc[r][1] += v * w1;
        }
    }
    for (int r = 0; r < ROWS; ++r) {
        store(y[r] + column, acc[r][0]);
        store(y[r] + column + kLanes, acc[r][1]);
    }
}

// The rows that are left where no whole block is: their panel is read once, too.
template <int ROWS>
inline void partial_block(const float* const* x, int rows, const float* panel, int inputs, float* const* y,
                          int column) {
    if (rows == ROWS)
        block<ROWS>(x, panel, inputs, y, column);
    else if constexpr (ROWS > 1)
        partial_block<ROWS - 1>(x, rows, panel, inputs, y, column);
}

// y[r] = x[r] W for `rows` rows.
void product(const float* const* x, int rows, const std::vector<float>& packed, int inputs, int outputs,
             float* const* y) {
    for (int column = 0; column < outputs; column += kPanel) {
        const float* panel = packed.data() + size_t(column) * inputs;
        int r = 0;
        for (; r + kRows <= rows; r += kRows)
            block<kRows>(x + r, panel, inputs, y + r, column);
        partial_block<kRows - 1>(x + r, rows - r, panel, inputs, y + r, column);
    }
}

} // namespace

void forward(const Segment& s, int first, int last) {
    const int H = s.hidden, G = 3 * H, rows = last - first;
    const std::vector<float> weights = pack_panels(s.w_hh, H, G, 1, H);
    std::vector<float> recurrent(size_t(rows) * G);
    std::vector<const float*> x(rows);
    std::vector<float*> y(rows);
    for (int r = 0; r < rows; ++r) {
        y[r] = recurrent.data() + size_t(r) * G;
        x[r] = s.h0 + size_t(first + r) * H;
    }
    for (int t = 0; t < s.steps; ++t) {
        product(x.data(), rows, weights, H, G, y.data());
        for (int r = 0; r < rows; ++r) {
            const size_t at = size_t(first + r) * s.steps + t;
            const float* cond = s.cond + (size_t(first + r) * s.frames + t / s.steps_per_frame) * G;
            const float* table[kMaxBands];
            for (int m = 0; m < s.bands; ++m)
                table[m] = s.tables + (size_t(m) * s.levels + s.indices[at * s.bands + m]) * G;
            const float* u = y[r];
            float* out = s.h + at * H;
            float* gates = s.gates + at * 4 * H;
            for (int j = 0; j < H; j += kLanes) {
                Vec a[3];
                for (int g = 0; g < 3; ++g) {
                    a[g] = load(cond + g * H + j);
                    for (int m = 0; m < s.bands; ++m)
                        a[g] += load(table[m] + g * H + j);
                }
                const Vec reset = sigmoid_vec(a[0] + load(u + j) + load(s.b_hh + j));
                const Vec update = sigmoid_vec(a[1] + load(u + H + j) + load(s.b_hh + H + j));
                const Vec un = load(u + 2 * H + j) + load(s.b_hh + 2 * H + j);
                const Vec candidate = tanh_vec(a[2] + reset * un);
                store(out + j, candidate + update * (load(x[r] + j) - candidate));
                store(gates + j, reset);
                store(gates + H + j, update);
                store(gates + 2 * H + j, candidate);
                store(gates + 3 * H + j, un);
            }
            x[r] = out;
        }
    }
}

void backward(const Segment& s, const float* grad_h, float* grad_a, float* grad_un, float* grad_h0, int first,
              int last) {
    const int H = s.hidden, G = 3 * H, rows = last - first;
    const std::vector<float> weights = pack_panels(s.w_hh, G, H, H, 1);
    std::vector<float> carry(size_t(rows) * H, 0.0f), back(size_t(rows) * H, 0.0f), grad_u(size_t(rows) * G);
    std::vector<const float*> x(rows);
    std::vector<float*> y(rows);
    for (int r = 0; r < rows; ++r) {
        x[r] = grad_u.data() + size_t(r) * G;
        y[r] = back.data() + size_t(r) * H;
    }
    for (int t = s.steps - 1; t >= 0; --t) {
        for (int r = 0; r < rows; ++r) {
            const size_t at = size_t(first + r) * s.steps + t;
            const float* gates = s.gates + at * 4 * H;
            const float* before = t > 0 ? s.h + (at - 1) * H : s.h0 + size_t(first + r) * H;
            const float* above = grad_h + at * H;
            float* ga = grad_a + at * G;
            float* gu = grad_u.data() + size_t(r) * G;
            float* keep = carry.data() + size_t(r) * H;
            const float* returned = y[r];
            for (int j = 0; j < H; j += kLanes) {
                const Vec reset = load(gates + j), update = load(gates + H + j), candidate = load(gates + 2 * H + j);
                const Vec dh = load(above + j) + load(keep + j) + load(returned + j);
                const Vec dn = dh * (1.0f - update) * (1.0f - candidate * candidate);
                const Vec dz = dh * (load(before + j) - candidate) * update * (1.0f - update);
                const Vec dr = dn * load(gates + 3 * H + j) * reset * (1.0f - reset);
                store(ga + j, dr);
                store(ga + H + j, dz);
                store(ga + 2 * H + j, dn);
                store(gu + j, dr);
                store(gu + H + j, dz);
                store(gu + 2 * H + j, dn * reset);
                store(grad_un + at * H + j, dn * reset);
                store(keep + j, dh * update);
            }
        }
        product(x.data(), rows, weights, G, H, y.data());
    }
    for (int r = 0; r < rows; ++r)
        for (int j = 0; j < H; ++j)
            grad_h0[size_t(first + r) * H + j] = carry[size_t(r) * H + j] + back[size_t(r) * H + j];
}

void scatter(const Segment& s, const float* grad_a, float* grad_tables, float* grad_cond, int first, int last) {
    const int G = 3 * s.hidden;
    for (int b = 0; b < s.batch; ++b)
        for (int t = 0; t < s.steps; ++t) {
            const size_t at = size_t(b) * s.steps + t;
            const float* row = grad_a + at * G;
            float* cond = grad_cond + (size_t(b) * s.frames + t / s.steps_per_frame) * G;
            for (int j = first; j < last; j += kLanes)
                store(cond + j, load(cond + j) + load(row + j));
            for (int m = 0; m < s.bands; ++m) {
                float* table = grad_tables + (size_t(m) * s.levels + s.indices[at * s.bands + m]) * G;
                for (int j = first; j < last; j += kLanes)
                    store(table + j, load(table + j) + load(row + j));
            }
        }
}

namespace {

// One register block of outer(): rows i..i+7 of the gates, two vectors of hidden units, summed over `count` steps.
inline void outer_block(const float* gates, size_t gate_stride, const float* const* before, int count, int column,
                        float* out, size_t out_stride) {
    Vec acc[kRows][2];
    for (int r = 0; r < kRows; ++r) {
        acc[r][0] = load(out + r * out_stride + column);
        acc[r][1] = load(out + r * out_stride + column + kLanes);
    }
    for (int k = 0; k < count; ++k) {
        const Vec h0 = load(before[k] + column), h1 = load(before[k] + column + kLanes);
        for (int r = 0; r < kRows; ++r) {
            const Vec g = splat(gates[k * gate_stride + r]);
            acc[r][0] += g * h0;
            acc[r][1] += g * h1;
        }
    }
    for (int r = 0; r < kRows; ++r) {
        store(out + r * out_stride + column, acc[r][0]);
        store(out + r * out_stride + column + kLanes, acc[r][1]);
    }
}

} // namespace

// grad_w[i] += sum over steps of (gate gradient i) x (state before the step), for gate rows first..last. torch's matrix
// product (MKL) reached 100 GFLOP/s here on a Zen 5 core, this 180: chunks of steps stay in L2, tiles in registers.
void outer(const Segment& s, const float* grad_a, const float* grad_un, float* grad_w, int first, int last) {
    constexpr int kChunk = 64;
    const int H = s.hidden;
    const float* before[kChunk];
    for (int b = 0; b < s.batch; ++b)
        for (int t = 0; t < s.steps; t += kChunk) {
            const int count = s.steps - t < kChunk ? s.steps - t : kChunk;
            const size_t at = size_t(b) * s.steps + t;
            for (int k = 0; k < count; ++k)
                before[k] = t + k > 0 ? s.h + (at + k - 1) * H : s.h0 + size_t(b) * H;
            for (int i = first; i < last; i += kRows) {
                const bool candidate = i >= 2 * H;
                const float* gates = candidate ? grad_un + at * H + (i - 2 * H) : grad_a + at * 3 * H + i;
                for (int column = 0; column < H; column += kPanel)
                    outer_block(gates, candidate ? H : 3 * H, before, count, column, grad_w + size_t(i) * H, H);
            }
        }
}

} // namespace lanewise_train::LW_ISA
