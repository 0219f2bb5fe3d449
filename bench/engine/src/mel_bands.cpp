#include "mel_bands.hpp"

#include "error.hpp"
#include "mel_scale.hpp"

#include <algorithm>
#include <string>

namespace lanewise {

MelBands::MelBands(std::size_t sample_rate_hz, std::size_t n_fft, std::size_t mels, double low_hz) {
    const double rate = static_cast<double>(sample_rate_hz), least = mel_of(low_hz), top = mel_of(rate / 2.0);
    std::vector<double> corners(mels + 2);
    for (std::size_t i = 0; i < corners.size(); ++i)
        corners[i] = hz_of(least + (top - least) * static_cast<double>(i) / static_cast<double>(mels + 1));
    const std::size_t bins = n_fft / 2 + 1;
    const auto hz_of_bin = [&](std::size_t bin) {
        return static_cast<double>(bin) * rate / static_cast<double>(n_fft);
    };
    for (std::size_t m = 0; m < mels; ++m) {
        const double low = corners[m], centre = corners[m + 1], high = corners[m + 2];
        std::vector<double> heights;
        Triangle triangle{0, 0};
        double area = 0.0;
        for (std::size_t bin = 0; bin < bins; ++bin) {
            const double hz = hz_of_bin(bin),
                         height = std::min((hz - low) / (centre - low), (high - hz) / (high - centre));
            if (height <= 0.0)
                continue;
            if (heights.empty())
                triangle.first = bin;
            heights.push_back(height);
            area += height;
        }
        if (heights.empty()) {
            throw Error("header: band " + std::to_string(m) + " of " + std::to_string(mels) +
                        " mels holds no bin of a transform of " + std::to_string(n_fft) +
                        " samples; take fewer mels or a longer transform");
        }
        triangle.count = heights.size();
        triangles_.push_back(triangle);
        for (const double height : heights)
            weights_.push_back(static_cast<float>(height / area));
    }
    std::size_t lower = 0;
    for (std::size_t bin = 0; bin < bins; ++bin) {
        const double hz = hz_of_bin(bin);
        while (lower + 1 < mels && corners[lower + 2] <= hz)
            ++lower;
        double above = 0.0; // how far towards the next centre, if there is one
        if (lower + 1 < mels)
            above = std::max((hz - corners[lower + 1]) / (corners[lower + 2] - corners[lower + 1]), 0.0);
        const double share = hz < low_hz ? 0.0 : 1.0;
        lower_.push_back(static_cast<std::uint32_t>(lower));
        lower_weights_.push_back(static_cast<float>(share * (1.0 - above)));
        upper_weights_.push_back(static_cast<float>(share * above));
    }
}

void MelBands::analyse(const float* magnitudes, float* bands) const {
    const float* weight = weights_.data();
    for (std::size_t m = 0; m < triangles_.size(); ++m) {
        const float* at = magnitudes + triangles_[m].first;
        float sum = 0.0f;
        for (std::size_t i = 0; i < triangles_[m].count; ++i)
            sum += *weight++ * at[i];
        bands[m] = sum;
    }
}

void MelBands::gains(const float* __restrict mask, float* __restrict gains) const {
    const std::uint32_t* lower = lower_.data();
    const float *below = lower_weights_.data(), *above = upper_weights_.data();
    for (std::size_t bin = 0; bin < lower_.size(); ++bin)
        gains[bin] = below[bin] * mask[lower[bin]] + above[bin] * mask[lower[bin] + 1];
}

} // namespace lanewise
