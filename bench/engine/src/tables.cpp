#include "tables.hpp"

#include "unpack.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

namespace lanewise {

namespace {

// The nearest bf16 (ties to even) of a finite number.
std::uint16_t to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

} // namespace

Tables::Tables(Number number, const MatrixView& w_embed, const float* embedding, std::size_t bands)
    : number_(number), row_bytes_(w_embed.rows * number_bytes(number)), entries_(bands * kLevels * row_bytes_),
      scales_(number == Number::int8 ? bands * kLevels : 0) {
    const std::size_t rows = w_embed.rows, embed = w_embed.cols / bands;
    std::vector<double> sum(rows);
    for (std::size_t band = 0; band < bands; ++band) {
        // Band by band: all at once would double the memory that loading takes.
        const std::vector<float> columns = unpack(w_embed, band * embed, embed);
        for (std::size_t level = 0; level < kLevels; ++level) {
            const float* x = embedding + (band * kLevels + level) * embed;
            std::fill(sum.begin(), sum.end(), 0.0);
            for (std::size_t k = 0; k < embed; ++k) {
                const float* column = columns.data() + k * rows;
                for (std::size_t i = 0; i < rows; ++i)
                    sum[i] += static_cast<double>(x[k]) * static_cast<double>(column[i]);
            }
            store(band * kLevels + level, sum.data(), rows);
        }
    }
}

void Tables::store(std::size_t row, const double* values, std::size_t n) {
    unsigned char* at = entries_.data() + row * row_bytes_;
    double scale = 1.0;
    if (number_ == Number::int8) {
        for (std::size_t i = 0; i < n; ++i)
            scales_[row] = std::max(scales_[row], static_cast<float>(std::abs(values[i]) / 127.0));
        scale = scales_[row] > 0.0f ? 1.0 / static_cast<double>(scales_[row]) : 0.0;
    }
    for (std::size_t i = 0; i < n; ++i) {
        switch (number_) {
        case Number::f32:
            reinterpret_cast<float*>(at)[i] = static_cast<float>(values[i]);
            break;
        case Number::bf16:
            reinterpret_cast<std::uint16_t*>(at)[i] = to_bf16(static_cast<float>(values[i]));
            break;
        case Number::int8:
            reinterpret_cast<std::int8_t*>(at)[i] =
                static_cast<std::int8_t>(std::clamp(std::round(values[i] * scale), -127.0, 127.0));
            break;
        }
    }
}

} // namespace lanewise
