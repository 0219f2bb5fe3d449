// Embedding tables: what each level of each band adds to the GRU's gates, one row (3 * hidden) per level, computed when
// a model is loaded, because a product with an embedding depends on nothing but the level.
#pragma once

#include "kernels.hpp"

namespace lanewise {

class Tables {
public:
    Tables() = default;
    // Row (band, level) = w_embed[:, band's columns] embed[band, level], summed in double precision because its
    // rounding would enter every step. w_embed: (gates, bands * embed); embedding: (bands, levels, embed).
    Tables(Number number, const MatrixView& w_embed, const float* embedding, std::size_t bands);

    Number number() const { return number_; }
    std::size_t bytes() const { return entries_.size() + scales_.size() * sizeof(float); }
    const void* row(std::size_t band, std::size_t level) const {
        return entries_.data() + (band * kLevels + level) * row_bytes_;
    }
    // Times this an int8 row's entries; 1 for other rows.
    float scale(std::size_t band, std::size_t level) const {
        return number_ == Number::int8 ? scales_[band * kLevels + level] : 1.0f;
    }

private:
    void store(std::size_t row, const double* values, std::size_t n);

    Number number_ = Number::f32;
    std::size_t row_bytes_ = 0;
    Aligned<unsigned char> entries_;
    Aligned<float> scales_; // int8 only
};

} // namespace lanewise
