#include "exact.hpp"

#include "unpack.hpp"

#include <algorithm>
#include <cmath>

namespace lanewise {

template <typename T> void ExactHead::Layer::operator()(const T* x, double* y) const {
    std::copy_n(bias, weights.rows, y);
    each_weight(weights, weights.floats(), [x, y](std::size_t row, std::size_t column, float weight) {
        y[row] += static_cast<double>(weight) * static_cast<double>(x[column]);
    });
}

ExactHead::ExactHead(const MatrixView& fc, const float* fc_bias, const MatrixView& out, const float* out_bias)
    : fc_{fc, fc_bias}, out_{out, out_bias} {}

void ExactHead::sample(const Mixture& mixture, const float* h, const double* uniform, double* scratch,
                       std::uint8_t* level) const {
    double* f = scratch;
    double* parameters = scratch + fc_.weights.rows;
    fc_(h, f);
    for (std::size_t i = 0; i < fc_.weights.rows; ++i)
        f[i] = std::max(f[i], 0.0);
    out_(f, parameters);
    const std::size_t mixtures = static_cast<std::size_t>(mixture.mixtures);
    for (std::size_t b = 0; b < static_cast<std::size_t>(mixture.bands); ++b) {
        const double* logit = parameters + b * 3 * mixtures;
        const double* mean = logit + mixtures;
        const double* log_scale = mean + mixtures;
        const double greatest = *std::max_element(logit, logit + mixtures);
        double weight[kMaxMixtures], inv_scale[kMaxMixtures], total = 0.0;
        for (std::size_t j = 0; j < mixtures; ++j) {
            weight[j] = std::exp((logit[j] - greatest) / mixture.temperature);
            inv_scale[j] = std::exp(-std::max(log_scale[j], double{kLeastLogScale})) / mixture.temperature;
            total += weight[j];
        }
        int found = 0; // edges below it have cumulative probability <= uniform
        for (int step = kLevels / 2; step >= 1; step /= 2) {
            const double edge = mixture.edges->exact[found + step - 1];
            double cumulative = 0.0;
            for (std::size_t j = 0; j < mixtures; ++j) {
                cumulative += weight[j] / (1.0 + std::exp(-(edge - mean[j]) * inv_scale[j]));
            }
            if (cumulative <= uniform[b] * total)
                found += step;
        }
        level[b] = static_cast<std::uint8_t>(found);
    }
}

} // namespace lanewise
