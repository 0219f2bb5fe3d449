// Random enhancers, their packed file's header, and a slow, obviously right reference in double precision (the
// equations are those of bench/models/enhancer.py; the transform is the sum of its definition).
#pragma once

#include "enhancer_stream.hpp"
#include "mel_scale.hpp"
#include "model.hpp"

#include <algorithm>
#include <complex>
#include <numbers>

namespace lanewise::test {

using Doubles = std::vector<double>;

struct EnhancerModel {
    EnhancerShape shape;
    std::map<std::string, std::vector<float>> vectors;
    std::map<std::string, Plain> plain;
    std::map<std::string, Packed> packed;
};

inline EnhancerShape tiny_enhancer() {
    EnhancerShape s{};
    s.layers = 2, s.hidden = {6, 5}, s.fc = 7, s.mels = 4, s.n_fft = 128, s.hop = 64;
    s.sample_rate_hz = 16000, s.low_hz = 50.0;
    return s;
}

inline EnhancerShape random_enhancer_shape(Rng& rng) {
    EnhancerShape s = tiny_enhancer();
    s.gru = pick(rng, 0, 1), s.layers = pick(rng, 1, 3);
    for (std::size_t layer = 0; layer < s.layers; ++layer)
        s.hidden[layer] = pick(rng, 1, 40);
    s.fc = pick(rng, 1, 40), s.mels = pick(rng, 1, 16), s.mask_bits = pick(rng, 0, 1) * 16;
    s.n_fft = std::size_t{128} << pick(rng, 0, 2), s.hop = s.n_fft >> pick(rng, 1, 3);
    return s;
}

// Every matrix in one of the given tilings, used in turn.
inline EnhancerModel random_enhancer(Rng& rng, const EnhancerShape& s, const std::vector<Tiling>& used, double kept) {
    EnhancerModel model{s, {}, {}, {}};
    const auto add = [&](const std::string& name, std::size_t rows, std::size_t cols, std::size_t gates) {
        const Tiling& tiling = used[model.plain.size() % used.size()];
        const std::size_t split = tiling.layout == Layout::dense ? 1 : gates;
        const double spread = 1.0 / std::sqrt(static_cast<double>(cols));
        model.plain[name] = random_plain(rng, tiling, rows, cols, split, kept, spread);
        model.packed[name] = pack(model.plain[name], split);
    };
    std::size_t width = s.mels;
    for (std::size_t layer = 0; layer < s.layers; ++layer) {
        const std::string name = "rnn." + std::to_string(layer) + ".";
        add(name + "w_ih", s.gates() * s.hidden[layer], width, s.gates());
        add(name + "w_hh", s.gates() * s.hidden[layer], s.hidden[layer], s.gates());
        model.vectors[name + "bias"] = normal(rng, s.gates() * s.hidden[layer], 0.3);
        width = s.hidden[layer];
    }
    add("fc.weight", s.fc, width, 1);
    add("mask.weight", s.mels, s.fc, 1);
    model.vectors["fc.bias"] = normal(rng, s.fc, 0.2);
    model.vectors["mask.bias"] = normal(rng, s.mels, 0.5);
    model.vectors["feature_mean"] = normal(rng, s.mels);
    model.vectors["feature_std"] = normal(rng, s.mels);
    for (float& value : model.vectors["feature_std"])
        value = 0.5f + std::abs(value);
    return model;
}

inline std::string head(const EnhancerModel& model) {
    const EnhancerShape& s = model.shape;
    std::string text = R"({"task":"enhancer","arch":{},"dims":{"cell":")" + std::string(s.gru ? "gru" : "lstm") + '"';
    const auto put_number = [&text](const std::string& name, std::size_t size) {
        text += ",\"" + name + "\":" + std::to_string(size);
    };
    put_number("layers", s.layers);
    for (std::size_t layer = 0; layer < s.layers; ++layer)
        put_number("hidden" + std::to_string(layer), s.hidden[layer]);
    put_number("fc", s.fc), put_number("mels", s.mels), put_number("n_fft", s.n_fft), put_number("hop", s.hop);
    put_number("mask_bits", s.mask_bits), put_number("sample_rate_hz", s.sample_rate_hz);
    return text + ",\"low_hz\":" + std::to_string(s.low_hz) + '}';
}

class EnhancerReference {
public:
    explicit EnhancerReference(const EnhancerModel& model) : model_(model), s_(model.shape) {
        for (std::size_t layer = 0; layer < s_.layers; ++layer) {
            h_.emplace_back(s_.hidden[layer], 0.0);
            c_.emplace_back(s_.hidden[layer], 0.0);
        }
        for (std::size_t k = 0; k < s_.n_fft; ++k)
            turns_.push_back(
                std::polar(1.0, 2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(s_.n_fft)));
    }

    // The mask of the next frame.
    Doubles step(Doubles x) {
        for (std::size_t layer = 0; layer < s_.layers; ++layer)
            x = s_.gru ? gru(layer, x) : lstm(layer, x);
        Doubles hidden = product("fc.weight", x);
        for (std::size_t i = 0; i < s_.fc; ++i)
            hidden[i] = std::max(hidden[i] + vector("fc.bias", i), 0.0);
        Doubles mask = product("mask.weight", hidden);
        for (std::size_t i = 0; i < s_.mels; ++i) {
            mask[i] = sigmoid(mask[i] + vector("mask.bias", i));
            if (s_.mask_bits) {
                const double top = std::ldexp(1.0, static_cast<int>(s_.mask_bits)) - 1.0;
                mask[i] = std::nearbyint(mask[i] * top) / top;
            }
        }
        return mask;
    }

    // A whole clip, silence around it.
    Doubles enhance(const std::vector<float>& audio) {
        const std::size_t n = s_.n_fft, delay = s_.delay();
        const std::size_t frames = (audio.size() + delay + s_.hop - 1) / s_.hop;
        Doubles padded(delay + frames * s_.hop, 0.0), out(padded.size(), 0.0);
        std::copy(audio.begin(), audio.end(), padded.begin() + static_cast<std::ptrdiff_t>(delay));
        for (std::size_t f = 0; f < frames; ++f) {
            std::vector<std::complex<double>> bins(s_.bins());
            for (std::size_t k = 0; k < bins.size(); ++k) {
                for (std::size_t i = 0; i < n; ++i)
                    bins[k] += padded[f * s_.hop + i] * window(i) * std::conj(turn(k * i));
            }
            mask_bins(bins);
            for (std::size_t i = 0; i < n; ++i) {
                double sample = bins[0].real() + (i % 2 ? -1.0 : 1.0) * bins[n / 2].real();
                for (std::size_t k = 1; k < n / 2; ++k)
                    sample += 2.0 * (bins[k] * turn(k * i)).real();
                out[f * s_.hop + i] += sample / static_cast<double>(n) * window(i) * 2.0 * static_cast<double>(s_.hop) /
                                       static_cast<double>(n);
            }
        }
        return {out.begin() + static_cast<std::ptrdiff_t>(delay),
                out.begin() + static_cast<std::ptrdiff_t>(delay + audio.size())};
    }

private:
    static double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
    double vector(const std::string& name, std::size_t i) const {
        return static_cast<double>(model_.vectors.at(name)[i]);
    }
    Doubles product(const std::string& name, const Doubles& x) const {
        const Plain& plain = model_.plain.at(name);
        return plain(as_read(plain.tiling, x));
    }
    double window(std::size_t i) const {
        return std::sin(std::numbers::pi * static_cast<double>(i) / static_cast<double>(s_.n_fft));
    }
    std::complex<double> turn(std::size_t k) const { return turns_[k % s_.n_fft]; }
    // Fed and recurrent products of a layer, the bias in the first.
    std::pair<Doubles, Doubles> products(std::size_t layer, const Doubles& x) const {
        const std::string name = "rnn." + std::to_string(layer) + ".";
        Doubles fed = product(name + "w_ih", x);
        for (std::size_t i = 0; i < fed.size(); ++i)
            fed[i] += vector(name + "bias", i);
        return {fed, product(name + "w_hh", h_[layer])};
    }
    Doubles lstm(std::size_t layer, const Doubles& x) {
        const auto [fed, recurrent] = products(layer, x);
        const std::size_t n = s_.hidden[layer];
        for (std::size_t i = 0; i < n; ++i) {
            const auto gate = [&, &fed = fed, &recurrent = recurrent](std::size_t k) {
                return fed[k * n + i] + recurrent[k * n + i];
            };
            c_[layer][i] = sigmoid(gate(1)) * c_[layer][i] + sigmoid(gate(0)) * std::tanh(gate(2));
            h_[layer][i] = sigmoid(gate(3)) * std::tanh(c_[layer][i]);
        }
        return h_[layer];
    }
    Doubles gru(std::size_t layer, const Doubles& x) {
        const auto [fed, recurrent] = products(layer, x);
        const std::size_t n = s_.hidden[layer];
        for (std::size_t i = 0; i < n; ++i) {
            const double reset = sigmoid(fed[i] + recurrent[i]), kept = sigmoid(fed[n + i] + recurrent[n + i]);
            const double fresh = std::tanh(fed[2 * n + i] + reset * recurrent[2 * n + i]);
            h_[layer][i] = (1.0 - kept) * fresh + kept * h_[layer][i];
        }
        return h_[layer];
    }
    void mask_bins(std::vector<std::complex<double>>& bins) {
        const double rate = static_cast<double>(s_.sample_rate_hz), top = mel_of(rate / 2), least = mel_of(s_.low_hz);
        const auto corner = [&](std::size_t i) {
            return hz_of(least + (top - least) * static_cast<double>(i) / static_cast<double>(s_.mels + 1));
        };
        const auto hz = [&](std::size_t bin) {
            return static_cast<double>(bin) * rate / static_cast<double>(s_.n_fft);
        };
        Doubles features(s_.mels);
        for (std::size_t m = 0; m < s_.mels; ++m) {
            double sum = 0.0, area = 0.0;
            for (std::size_t k = 0; k < bins.size(); ++k) {
                const double rise = (hz(k) - corner(m)) / (corner(m + 1) - corner(m));
                const double fall = (corner(m + 2) - hz(k)) / (corner(m + 2) - corner(m + 1));
                const double height = std::max(0.0, std::min(rise, fall));
                sum += height * std::abs(bins[k]), area += height;
            }
            features[m] = (std::log(sum / area + 1e-4) - vector("feature_mean", m)) / vector("feature_std", m);
        }
        const Doubles mask = step(features);
        for (std::size_t k = 0; k < bins.size(); ++k) {
            double gain = hz(k) <= corner(1) ? mask.front() : mask.back();
            for (std::size_t m = 0; m + 1 < s_.mels; ++m) {
                if (hz(k) > corner(m + 1) && hz(k) <= corner(m + 2)) {
                    const double above = (hz(k) - corner(m + 1)) / (corner(m + 2) - corner(m + 1));
                    gain = (1.0 - above) * mask[m] + above * mask[m + 1];
                }
            }
            bins[k] *= hz(k) < s_.low_hz ? 0.0 : gain;
        }
    }

    const EnhancerModel& model_;
    const EnhancerShape& s_;
    std::vector<Doubles> h_, c_;
    std::vector<std::complex<double>> turns_; // exp(2 pi i k / n)
};

} // namespace lanewise::test
