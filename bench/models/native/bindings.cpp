// Python face of the GRU training kernels: checks shapes, shares the work among threads, releases the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gru.h"

namespace nb = nanobind;
using namespace lanewise_train;

namespace {

template <typename T, size_t N> using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

struct Kernels {
    decltype(&generic::forward) forward;
    decltype(&generic::backward) backward;
    decltype(&generic::scatter) scatter;
    decltype(&generic::outer) outer;
};

Kernels select() {
#if defined(LW_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
        return {avx512::forward, avx512::backward, avx512::scatter, avx512::outer};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return {avx2::forward, avx2::backward, avx2::scatter, avx2::outer};
#endif
    return {generic::forward, generic::backward, generic::scatter, generic::outer};
}
const Kernels kernels = select();

// Calls work(first, last) over 0..items in shares that are multiples of `grain`, one thread a share.
template <typename Work> void share(int items, int grain, int threads, Work work) {
    const int units = (items + grain - 1) / grain;
    const int used = std::clamp(threads, 1, units);
    std::vector<std::thread> others;
    auto part = [&](int k) { work(units * k / used * grain, std::min(items, units * (k + 1) / used * grain)); };
    for (int k = 1; k < used; ++k)
        others.emplace_back(part, k);
    part(0);
    for (auto& thread : others)
        thread.join();
}

Segment describe(Array<const uint8_t, 3> indices, Array<const float, 3> tables, Array<const float, 3> cond,
                 Array<const float, 2> w_hh, Array<const float, 1> b_hh, Array<const float, 2> h0, Array<float, 3> h,
                 Array<float, 3> gates) {
    Segment s;
    s.batch = int(indices.shape(0));
    s.steps = int(indices.shape(1));
    s.bands = int(indices.shape(2));
    s.levels = int(tables.shape(1));
    s.hidden = int(w_hh.shape(1));
    s.frames = int(cond.shape(1));
    const size_t H = size_t(s.hidden), B = size_t(s.batch), T = size_t(s.steps);
    auto require = [](bool ok, const char* what) {
        if (!ok)
            throw std::invalid_argument(what);
    };
    require(s.hidden % 32 == 0, "hidden size must be a multiple of 32");
    require(s.bands <= kMaxBands && s.levels == 256, "at most 16 bands of 256 levels");
    require(s.frames > 0 && s.steps % s.frames == 0, "steps must be a multiple of frames");
    require(tables.shape(0) == size_t(s.bands) && tables.shape(2) == 3 * H, "tables must be (bands, 256, 3 hidden)");
    require(cond.shape(0) == B && cond.shape(2) == 3 * H, "cond must be (batch, frames, 3 hidden)");
    require(w_hh.shape(0) == 3 * H && b_hh.shape(0) == 3 * H, "w_hh must be (3 hidden, hidden), b_hh (3 hidden)");
    require(h0.shape(0) == B && h0.shape(1) == H, "h0 must be (batch, hidden)");
    require(h.shape(0) == B && h.shape(1) == T && h.shape(2) == H, "h must be (batch, steps, hidden)");
    require(gates.shape(0) == B && gates.shape(1) == T && gates.shape(2) == 4 * H,
            "gates must be (batch, steps, 4 hidden)");
    s.steps_per_frame = s.steps / s.frames;
    s.indices = indices.data();
    s.tables = tables.data();
    s.cond = cond.data();
    s.w_hh = w_hh.data();
    s.b_hh = b_hh.data();
    s.h0 = h0.data();
    s.h = h.data();
    s.gates = gates.data();
    return s;
}

void forward(Array<const uint8_t, 3> indices, Array<const float, 3> tables, Array<const float, 3> cond,
             Array<const float, 2> w_hh, Array<const float, 1> b_hh, Array<const float, 2> h0, Array<float, 3> h,
             Array<float, 3> gates, int threads) {
    const Segment s = describe(indices, tables, cond, w_hh, b_hh, h0, h, gates);
    nb::gil_scoped_release release;
    share(s.batch, 8, threads, [&](int first, int last) { kernels.forward(s, first, last); });
}

void backward(Array<const uint8_t, 3> indices, Array<const float, 3> tables, Array<const float, 3> cond,
              Array<const float, 2> w_hh, Array<const float, 1> b_hh, Array<const float, 2> h0, Array<float, 3> h,
              Array<float, 3> gates, Array<const float, 3> grad_h, Array<float, 3> grad_a, Array<float, 3> grad_un,
              Array<float, 2> grad_h0, Array<float, 3> grad_tables, Array<float, 3> grad_cond, Array<float, 2> grad_w,
              int threads) {
    const Segment s = describe(indices, tables, cond, w_hh, b_hh, h0, h, gates);
    nb::gil_scoped_release release;
    share(s.batch, 8, threads, [&](int first, int last) {
        kernels.backward(s, grad_h.data(), grad_a.data(), grad_un.data(), grad_h0.data(), first, last);
    });
    share(3 * s.hidden, 32, threads, [&](int first, int last) {
        kernels.scatter(s, grad_a.data(), grad_tables.data(), grad_cond.data(), first, last);
    });
    share(3 * s.hidden, 32, threads,
          [&](int first, int last) { kernels.outer(s, grad_a.data(), grad_un.data(), grad_w.data(), first, last); });
}

} // namespace

NB_MODULE(_train, m) {
    m.doc() = "Teacher-forced GRU training kernels (see bench/models/gru_op.py).";
    m.def("forward", &forward);
    m.def("backward", &backward);
}
