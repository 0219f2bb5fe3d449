#include "exact.hpp"

#include <algorithm>
#include <cmath>

namespace lanewise {

namespace {

// Calls put(row, column, weight) for every stored weight of a dense layout of (rows, cols); returns its end.
template <typename Put> const float* each_dense(const float* w, std::size_t rows, std::size_t cols, Put put) {
    for (std::size_t row = 0; row < rows;) {
        const std::size_t height = rows - row >= kPanelRows ? kPanelRows : kSmallPanelRows;
        const std::size_t used = std::min(height, rows - row);
        for (std::size_t c = 0; c < cols; ++c, w += height) {
            for (std::size_t i = 0; i < used; ++i)
                put(row + i, c, w[i]);
        }
        row += used;
    }
    return w;
}

// The same for any layout.
template <typename Put> void each_weight(const MatrixView& m, Put put) {
    const float* w = m.weights;
    const std::uint16_t* index = m.index;
    const std::size_t gate_rows = m.rows / m.gates, group = m.group;
    switch (m.format) {
    case Format::dense:
        each_dense(w, m.rows, m.cols, put);
        break;
    case Format::compact:
        for (std::size_t gate = 0; gate < m.gates; index += m.counts[gate++]) {
            const auto shifted = [&](std::size_t r, std::size_t c, float v) { put(gate * gate_rows + r, index[c], v); };
            w = each_dense(w, gate_rows, m.counts[gate], shifted);
        }
        break;
    case Format::row_group:
        for (std::size_t gate = 0, strip = 0; gate < m.gates; ++gate) {
            for (std::size_t row = 0; row < gate_rows; row += group, ++strip) {
                for (std::size_t k = 0; k < m.counts[strip]; ++k, ++index, w += group) {
                    const std::size_t used = std::min(group, gate_rows - row);
                    for (std::size_t i = 0; i < used; ++i)
                        put(gate * gate_rows + row + i, *index, w[i]);
                }
            }
        }
        break;
    case Format::dot_group:
        for (std::size_t row = 0; row < m.rows; ++row) {
            for (std::size_t k = 0; k < m.counts[row]; ++k, ++index, w += group) {
                const std::size_t used = std::min<std::size_t>(group, m.cols - *index);
                for (std::size_t i = 0; i < used; ++i)
                    put(row, *index + i, w[i]);
            }
        }
        break;
    }
}

} // namespace

ExactHead::Layer::Layer(const MatrixView& m, const float* bias)
    : weights(std::size_t{m.rows} * m.cols), bias(bias, bias + m.rows) {
    each_weight(m, [&](std::size_t row, std::size_t col, float weight) { weights[col * m.rows + row] = weight; });
}

std::vector<double> ExactHead::Layer::operator()(const std::vector<double>& x) const {
    std::vector<double> y(bias.begin(), bias.end());
    for (std::size_t c = 0; c < x.size(); ++c) {
        const float* column = weights.data() + c * y.size();
        for (std::size_t r = 0; r < y.size(); ++r)
            y[r] += static_cast<double>(column[r]) * x[c];
    }
    return y;
}

ExactHead::ExactHead(const MatrixView& fc, const float* fc_bias, const MatrixView& out, const float* out_bias)
    : fc_(fc, fc_bias), out_(out, out_bias) {}

void ExactHead::sample(const Mixture& mixture, const float* h, const double* uniform, std::uint8_t* level) const {
    std::vector<double> f = fc_({h, h + fc_.weights.size() / fc_.bias.size()});
    for (double& value : f)
        value = std::max(value, 0.0);
    const std::vector<double> parameters = out_(f);
    const std::size_t mixtures = static_cast<std::size_t>(mixture.mixtures);
    for (std::size_t b = 0; b < static_cast<std::size_t>(mixture.bands); ++b) {
        const double* logit = parameters.data() + b * 3 * mixtures;
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
