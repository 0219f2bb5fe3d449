// The latest frames of a sequence, side by side in memory as a convolution reads them: added behind, dropped in front.
#pragma once

#include "aligned.hpp"
#include "matrix.hpp"

#include <algorithm>

namespace lanewise {

class FrameLine {
public:
    FrameLine(std::size_t width, std::size_t capacity)
        : width_(width), capacity_(capacity), values_(2 * capacity * width + kInputPadding) {}

    std::size_t size() const { return size_; }
    std::size_t room() const { return capacity_ - size_; }
    // The oldest frame; the others follow.
    const float* front() const { return values_.data() + begin_ * width_; }

    // Place for one more frame. The memory holds twice the capacity, so frames move at most once per `capacity`.
    float* add() {
        if (begin_ + size_ == 2 * capacity_) {
            std::copy_n(front(), size_ * width_, values_.data());
            begin_ = 0;
        }
        return values_.data() + (begin_ + size_++) * width_;
    }
    void add_zeros(std::size_t frames) {
        for (std::size_t i = 0; i < frames; ++i)
            std::fill_n(add(), width_, 0.0f);
    }
    void drop() {
        ++begin_;
        --size_;
    }

private:
    std::size_t width_, capacity_, begin_ = 0, size_ = 0;
    Aligned<float> values_;
};

} // namespace lanewise
