#include "delta.hpp"

#include "isa.hpp"

#include <algorithm>

namespace lanewise {

namespace {

// Gates that keep columns of their own.
std::size_t parts(const MatrixView& m) {
    return m.layout == Layout::dense ? 1 : m.gates;
}
std::size_t kept(const MatrixView& m, std::size_t part) {
    return m.layout == Layout::dense ? m.cols : m.counts[part];
}
std::size_t room(std::size_t columns) {
    return round_up(columns + kInputPadding, kAlignment / sizeof(float));
}
// A part as the dense matrix that it is.
MatrixView dense_part(const MatrixView& m, std::size_t rows, std::size_t cols, const float* weights) {
    MatrixView part = m;
    part.layout = Layout::dense;
    part.gates = 1;
    part.rows = static_cast<std::uint32_t>(rows);
    part.cols = static_cast<std::uint32_t>(cols);
    part.weights = weights;
    part.weight_bytes = dense_weights(rows, cols) * sizeof(float);
    return part;
}

} // namespace

bool DeltaProduct::fits(const MatrixView& m) {
    return m.number == Number::f32 && (m.layout == Layout::dense || m.layout == Layout::compact);
}

DeltaProduct::DeltaProduct(const MatrixView& m, const Kernels& kernels, float threshold)
    : m_(m), kernels_(kernels), dense_(find_kernel(kernels, dense_part(m, 1, 1, nullptr))), threshold_(threshold),
      change_(room(m.cols)), column_(room(m.cols)) {
    std::size_t all = 0;
    for (std::size_t part = 0; part < parts(m); ++part)
        all += room(kept(m, part));
    used_ = Aligned<float>(all);
}

void DeltaProduct::operator()(const float* x, float* y, float* scratch) {
    const bool refresh = steps_++ % kRefreshSteps == 0;
    const std::size_t rows = m_.rows / parts(m_);
    const float* w = m_.floats();
    const std::uint16_t* index = m_.index;
    float* used = used_.data();
    for (std::size_t part = 0; part < parts(m_); ++part, y += rows) {
        const std::size_t cols = kept(m_, part);
        const float* inputs = x;
        if (m_.layout != Layout::dense) {
            std::transform(index, index + cols, scratch, [x](std::uint16_t column) { return x[column]; });
            inputs = scratch;
            index += cols;
        }
        const std::size_t n = kernels_.changed(cols, threshold_, inputs, used, column_.data(), change_.data());
        if (refresh)
            dense_(dense_part(m_, rows, cols, w), used, y, scratch);
        else
            kernels_.add_columns(w, rows, cols, column_.data(), change_.data(), n, y);
        read_ += refresh ? cols : n;
        all_ += cols;
        w += dense_weights(rows, cols);
        used += room(cols);
    }
}

double DeltaProduct::skipped() const {
    return all_ ? 1.0 - static_cast<double>(read_) / static_cast<double>(all_) : 0.0;
}

} // namespace lanewise
