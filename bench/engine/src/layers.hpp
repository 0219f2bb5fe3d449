// Everything outside the matrix products: gates, activations, and of the vocoder sampling and filter bank.
#pragma once

#include "core.hpp"
#include "kernels.hpp"
#include "math.hpp"

#include <type_traits>

namespace lanewise::LANEWISE_ISA {

// Entries of an embedding table's row as floats (int8: before scaling); lanes behind the end are 0.
template <typename Entry> LW_INLINE V table_entries(const void* row, std::size_t at, std::size_t lanes) {
    const Entry* p = static_cast<const Entry*>(row) + at;
    if constexpr (std::is_same_v<Entry, float>) {
        return load_n(p, lanes);
    } else {
        Entry some[kLanes] = {};
        if (lanes < kLanes) {
            __builtin_memcpy(some, p, lanes * sizeof(Entry));
            p = some;
        }
        const Simd<kLanes>::i32 wide = load_wide(p);
        return std::is_same_v<Entry, std::int8_t> ? to_float(wide) : from_bits(wide << 16);
    }
}

// One GRU update: the embedding tables' rows are summed, gates applied and the state written in a single pass.
// Bands: their number, or 0 for the one that `step` names.
template <typename Entry, int Bands> LW_INLINE void update_state(const GruStep& step, float* h) {
    const std::size_t hidden = step.hidden;
    const int bands = Bands ? Bands : step.bands;
    for_vectors(hidden, [&](std::size_t i, std::size_t lanes) __attribute__((always_inline)) {
        V input[3];
#pragma GCC unroll 3
        for (std::size_t gate = 0; gate < 3; ++gate) {
            const std::size_t at = gate * hidden + i;
            V a = load_n(step.conditioning + at, lanes);
#pragma GCC unroll 4
            for (int b = 0; b < bands; ++b) {
                const V entries = table_entries<Entry>(step.table_rows[b], at, lanes);
                if constexpr (std::is_same_v<Entry, std::int8_t>)
                    a += entries * splat(step.row_scales[b]);
                else
                    a += entries;
            }
            input[gate] = a;
        }
        const V r = fast_sigmoid(input[0] + load_n(step.recurrent + i, lanes));
        const V recurrent_n = load_n(step.recurrent + 2 * hidden + i, lanes) + load_n(step.recurrent_bias_n + i, lanes);
        const V n = fast_tanh(input[2] + r * recurrent_n);
        const V before = load_n(h + i, lanes);
        // h = n + z (before - n). A unit with z near 1 sums its rounding errors over many steps, so the smaller of z
        // and 1 - z is computed, to full relative precision, and the state moves from the nearer end.
        const V x = input[1] + load_n(step.recurrent + hidden + i, lanes);
        const V e = exp_of_negative(-magnitude(x));
        const V smaller = e / (splat(1.0f) + e);
        const V near = x > 0 ? before : n;
        const V far = x > 0 ? n : before;
        store_n(h + i, near + smaller * (far - near), lanes);
    });
}

template <typename Entry> void gru_gates(const GruStep& step, float* h) {
    if (step.bands == 4) // the default, 1.3 times as fast unrolled
        update_state<Entry, 4>(step, h);
    else
        update_state<Entry, 0>(step, h);
}

inline void bias_relu(std::size_t n, const float* bias, float* y) {
    for_vectors(n, [&](std::size_t i, std::size_t lanes) {
        store_n(y + i, most(load_n(y + i, lanes) + load_n(bias + i, lanes), V{}), lanes);
    });
}

inline void add_bias_relu(std::size_t n, const float* x, const float* bias, float* y) {
    for_vectors(n, [&](std::size_t i, std::size_t lanes) {
        const V rectified = most(load_n(x + i, lanes) + load_n(bias + i, lanes), V{});
        store_n(y + i, load_n(y + i, lanes) + rectified, lanes);
    });
}

inline void normalise(std::size_t n, const float* x, const float* offset, const float* scale, float* y) {
    for_vectors(n, [&](std::size_t i, std::size_t lanes) {
        store_n(y + i, (load_n(x + i, lanes) - load_n(offset + i, lanes)) * load_n(scale + i, lanes), lanes);
    });
}

// ---- sampling ---------------------------------------------------------------------------------------------------

// What single precision may do to a cumulative probability: rounding here, and (per unit of 1 / scale) rounding of the
// mean by the layers before.
constexpr float kDoubt = 1e-6f, kParameterDoubt = 5e-8f;

struct Logistic {
    float weight, mean, inv_scale;
};

struct Counts {
    int least, most;
};

// How many of 16 edges have a cumulative probability <= target, give or take `doubt` in that probability. Edges
// increase, so those come first; the last one is a sentinel and never counts.
LW_INLINE Counts count_below(const float* edges, const Logistic* parts, int mixtures, float target, float doubt) {
    Counts counts{0, 0};
    for (int p = 0; p < kProbes; p += kLanes) {
        const V edge = load<kLanes>(edges + p);
        V cumulative{};
        for (int j = 0; j < mixtures; ++j) {
            const V z = (edge - splat(parts[j].mean)) * splat(parts[j].inv_scale);
            cumulative += splat(parts[j].weight) * fast_sigmoid(z);
        }
        counts.least += count_true<kLanes>(cumulative <= splat(target - doubt));
        counts.most += count_true<kLanes>(cumulative <= splat(target + doubt));
    }
    counts.most = counts.most < kProbes ? counts.most : kProbes - 1;
    counts.least = counts.least < kProbes ? counts.least : kProbes - 1;
    return counts;
}

// Two rounds of 16 edges per band. False where rounding could have decided (a few draws in a thousand).
inline bool sample(const Mixture& mixture, const float* parameters, const double* uniform, std::uint8_t* level) {
    const int mixtures = mixture.mixtures;
    const int n = mixture.bands * mixtures;
    constexpr int kMost = kMaxBands * kMaxMixtures;
    const float inv_temperature = static_cast<float>(1.0 / mixture.temperature);
    float weight[kMost], mean[kMost], inv_scale[kMost];
    bool sure = true;
    for (int b = 0; b < mixture.bands; ++b) {
        const float* band = parameters + b * 3 * mixtures;
        const float* bias = mixture.bias + b * 3 * mixtures;
        float greatest = band[0] + bias[0];
        for (int j = 0; j < mixtures; ++j) {
            const int at = b * mixtures + j;
            weight[at] = band[j] + bias[j];
            mean[at] = band[mixtures + j] + bias[mixtures + j];
            const float log_scale = band[2 * mixtures + j] + bias[2 * mixtures + j];
            inv_scale[at] = -(log_scale > kLeastLogScale ? log_scale : kLeastLogScale);
            greatest = weight[at] > greatest ? weight[at] : greatest;
        }
        for (int j = 0; j < mixtures; ++j) {
            weight[b * mixtures + j] = (weight[b * mixtures + j] - greatest) * inv_temperature;
        }
    }
    for_vectors(static_cast<std::size_t>(n), [&](std::size_t i, std::size_t lanes) {
        store_n(weight + i, fast_exp(load_n(weight + i, lanes)), lanes);
        store_n(inv_scale + i, fast_exp(load_n(inv_scale + i, lanes)) * splat(inv_temperature), lanes);
    });
    Logistic parts[kMaxBands][kMaxMixtures];
    float target[kMaxBands], doubt[kMaxBands];
    for (int b = 0; b < mixture.bands; ++b) {
        float total = 0.0f;
        doubt[b] = 0.0f;
        for (int j = 0; j < mixtures; ++j) {
            const int at = b * mixtures + j;
            parts[b][j] = {weight[at], mean[at], inv_scale[at]};
            total += weight[at];
            doubt[b] += weight[at] * (kDoubt + kParameterDoubt * inv_scale[at]);
        }
        target[b] = static_cast<float>(uniform[b]) * total; // instead of dividing the weights by their sum
    }
    // Round by round, not band by band: the bands' chains of dependent operations then overlap.
    int round[kMaxBands];
    for (int b = 0; b < mixture.bands; ++b) {
        const Counts counts = count_below(mixture.edges->coarse, parts[b], mixtures, target[b], doubt[b]);
        sure = sure && counts.least == counts.most;
        round[b] = counts.least * kProbes;
    }
    for (int b = 0; b < mixture.bands; ++b) {
        const Counts counts = count_below(mixture.edges->fine + round[b], parts[b], mixtures, target[b], doubt[b]);
        sure = sure && counts.least == counts.most;
        level[b] = static_cast<std::uint8_t>(round[b] + counts.least);
    }
    return sure;
}

// ---- PQMF synthesis -----------------------------------------------------------------------------------------------

// Polyphase: output phase p of step t = sum over bands b and k of x_b[t - k] * filter_b[bands * k + p].
inline void synthesise(const Synthesis& f, const float* bands, std::size_t stride, std::size_t steps, float* out) {
    const std::size_t per_phase = f.taps / f.bands;
    for_vectors(steps, [&](std::size_t t, std::size_t lanes) {
        for (std::size_t phase = 0; phase < f.bands; ++phase) {
            V acc[2] = {};
            for (std::size_t b = 0; b < f.bands; ++b) {
                const float* x = bands + b * stride + t;
                const float* h = f.filters + b * f.taps + phase;
                for (std::size_t k = 0; k < per_phase; ++k)
                    acc[k % 2] += load_n(x - k, lanes) * splat(h[k * f.bands]);
            }
            float values[kLanes];
            store<kLanes>(values, acc[0] + acc[1]);
            for (std::size_t lane = 0; lane < lanes; ++lane)
                out[(t + lane) * f.bands + phase] = values[lane];
        }
    });
}

// ---- for tests and measurement --------------------------------------------------------------------------------------

inline void exp_array(std::size_t n, const float* x, float* y) {
    for_vectors(n, [&](std::size_t i, std::size_t lanes) { store_n(y + i, fast_exp(load_n(x + i, lanes)), lanes); });
}
inline void log_array(std::size_t n, const float* x, float* y) {
    for_vectors(n, [&](std::size_t i, std::size_t lanes) {
        const V in = load_n(x + i, lanes);
        store_n(y + i, fast_log(in), lanes);
    });
}
inline void sigmoid_array(std::size_t n, const float* x, float* y) {
    for_vectors(n,
                [&](std::size_t i, std::size_t lanes) { store_n(y + i, fast_sigmoid(load_n(x + i, lanes)), lanes); });
}
inline void tanh_array(std::size_t n, const float* x, float* y) {
    for_vectors(n, [&](std::size_t i, std::size_t lanes) { store_n(y + i, fast_tanh(load_n(x + i, lanes)), lanes); });
}

template <Ahead kAhead> std::uint64_t read_at(const char* p, std::size_t bytes) {
    using Word = typename Simd<kLanes>::i32;
    constexpr std::size_t kStep = 8 * sizeof(Word), kLine = 64;
    if (bytes < kStep) // with few weights, folding nothing for each of their lists would count
        return 0;
    Word acc[8] = {};
    for (std::size_t i = 0; i + kStep <= bytes; i += kStep) {
        if constexpr (kAhead != Ahead::none) {
#pragma GCC unroll 8
            for (std::size_t line = 0; line < kStep; line += kLine)
                __builtin_prefetch(p + i + line + ahead_bytes<kAhead>(2048));
        }
#pragma GCC unroll 8
        for (int v = 0; v < 8; ++v) {
            Word word;
            __builtin_memcpy(&word, p + i + static_cast<std::size_t>(v) * sizeof word, sizeof word);
            acc[v] |= word;
        }
    }
    Word all = acc[0];
    for (int v = 1; v < 8; ++v)
        all |= acc[v];
    std::int32_t lanes[kLanes];
    __builtin_memcpy(lanes, &all, sizeof all);
    std::uint64_t result = 0;
    for (const std::int32_t lane : lanes)
        result |= static_cast<std::uint32_t>(lane);
    return result;
}

// Lines of what a core's own cache cannot hold are asked for 2 KB ahead: 1.5 to 6 MB are then read in 2.05 cycles a
// line instead of 2.2 to 2.6 (Zen 5, 512- and 256-bit loads; 1 KB and 4 KB ahead are equal). Up to 1.25 MB it costs up
// to a sixth. How far ahead depends on the CPU: core.hpp.
inline std::uint64_t read(const void* buffer, std::size_t bytes) {
    const char* p = static_cast<const char*>(buffer);
    const Ahead ahead = bytes > 5 << 18 ? ahead_beyond_l2() : Ahead::none;
    return with_ahead(ahead, [&](auto a) { return read_at<a.value>(p, bytes); });
}

} // namespace lanewise::LANEWISE_ISA
