// A slow, obviously right vocoder in double precision; the equations are those of bench/engine/reference.py.
#pragma once

#include "model.hpp"
#include "philox.hpp"
#include "quantiser.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace lanewise::test {

using Doubles = std::vector<double>;

struct Trace {
    std::vector<std::uint8_t> levels; // (steps, bands)
    Doubles margins;                  // (steps, bands): from the uniform number to the nearest edge of its distribution
    // Steps before an element of the state came so close to a delta threshold that rounding decides.
    std::size_t sure_steps = 0;
};

class Reference {
public:
    explicit Reference(const Model& model) : model_(model), s_(model.shape) {}

    // Samples with these levels (frames * steps_per_frame, bands) fed back.
    Trace run(const std::vector<float>& mel, std::size_t frames, std::uint64_t seed, std::uint64_t number,
              double temperature, const std::vector<std::uint8_t>& forced) const {
        const std::vector<Doubles> conditioning = condition(mel, frames);
        std::vector<std::uint8_t> previous(s_.bands, kSilentLevel);
        Doubles h(s_.hidden, 0.0), seen = h; // by the recurrent product
        bool sure = true;
        Trace trace;
        for (std::size_t step = 0; step < frames * s_.steps_per_frame; ++step) {
            for (std::size_t i = 0; i < s_.hidden; ++i) {
                const double far = std::abs(h[i] - seen[i]), threshold = model_.delta ? *model_.delta : 0.0;
                sure = sure && (!model_.delta || far == 0.0 || std::abs(far - threshold) > kDoubt);
                if (!model_.delta || far > threshold)
                    seen[i] = h[i];
            }
            trace.sure_steps += sure;
            h = gru(h, seen, conditioning[step / s_.steps_per_frame], previous);
            const Doubles p = parameters(h);
            for (std::size_t b = 0; b < s_.bands; ++b) {
                const Counter words =
                    philox({static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(b / 4),
                            static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32)},
                           {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
                draw(p, b, temperature, uniform(words[b % 4]), trace);
            }
            previous.assign(forced.begin() + static_cast<std::ptrdiff_t>(step * s_.bands),
                            forced.begin() + static_cast<std::ptrdiff_t>((step + 1) * s_.bands));
        }
        return trace;
    }

    // Audio (steps * bands) of levels (steps, bands): zero-stuffed, filtered, summed.
    Doubles waveform(const std::vector<std::uint8_t>& levels) const {
        Doubles audio(levels.size(), 0.0);
        for (std::size_t i = 0; i < levels.size(); ++i) {
            const std::size_t step = i / s_.bands, b = i % s_.bands;
            const double sample = mu_law_value(levels[i]) * static_cast<double>(vector("band_scale")[b]);
            for (std::size_t k = 0; k < s_.pqmf_taps && step * s_.bands + k < audio.size(); ++k) {
                audio[step * s_.bands + k] +=
                    sample * static_cast<double>(vector("pqmf.synthesis")[b * s_.pqmf_taps + k]);
            }
        }
        return audio;
    }

private:
    static constexpr double kDoubt = 2e-6; // single precision's error of the state stays below it

    const std::vector<float>& vector(const std::string& name) const { return model_.vectors.at(name); }
    static double sigmoid(double x) { return 0.5 * (1.0 + std::tanh(0.5 * x)); }

    // Inputs are rounded as the number format of the matrix has it.
    Doubles product(const std::string& name, const Doubles& x) const {
        const Plain& plain = model_.plain.at(name);
        return plain(as_read(plain.tiling, x));
    }

    // Output frames of relu(convolution + bias); taps outside the utterance read zeros.
    std::vector<Doubles> convolve(const std::string& name, const std::vector<Doubles>& x, std::size_t taps,
                                  std::size_t left) const {
        std::vector<Doubles> out;
        for (std::size_t frame = 0; frame < x.size(); ++frame) {
            Doubles window;
            for (std::size_t tap = 0; tap < taps; ++tap) {
                const std::size_t source = frame + tap; // + left
                const bool inside = source >= left && source - left < x.size();
                const Doubles zeros(x[0].size(), 0.0);
                const Doubles& from = inside ? x[source - left] : zeros;
                window.insert(window.end(), from.begin(), from.end());
            }
            Doubles y = product(name + ".weight", window);
            for (std::size_t i = 0; i < y.size(); ++i)
                y[i] = std::max(y[i] + static_cast<double>(vector(name + ".bias")[i]), 0.0);
            out.push_back(y);
        }
        return out;
    }

    std::vector<Doubles> condition(const std::vector<float>& mel, std::size_t frames) const {
        std::vector<Doubles> normalised(frames, Doubles(s_.mels));
        for (std::size_t i = 0; i < frames * s_.mels; ++i) {
            const std::size_t m = i % s_.mels;
            normalised[i / s_.mels][m] = (static_cast<double>(mel[i]) - static_cast<double>(vector("mel_mean")[m])) /
                                         static_cast<double>(vector("mel_std")[m]);
        }
        const auto c1 = convolve("cond.conv1", normalised, s_.conv1_taps, s_.conv1_left);
        auto c = convolve("cond.conv2", c1, s_.conv2_taps, s_.conv2_left);
        for (std::size_t frame = 0; frame < frames; ++frame) {
            for (std::size_t i = 0; i < s_.cond; ++i)
                c[frame][i] += c1[frame][i];
        }
        return c;
    }

    Doubles gru(const Doubles& h, const Doubles& seen, const Doubles& c,
                const std::vector<std::uint8_t>& previous) const {
        Doubles embedded;
        for (std::size_t b = 0; b < s_.bands; ++b) {
            for (std::size_t e = 0; e < s_.embed; ++e)
                embedded.push_back(static_cast<double>(vector("embed")[(b * kLevels + previous[b]) * s_.embed + e]));
        }
        const Doubles from_levels = model_.plain.at("gru.w_embed")(embedded); // folded when loaded, unrounded
        const Doubles from_mel = product("gru.w_cond", c);
        const Doubles recurrent = product("gru.w_hh", seen);
        const auto a = [&](std::size_t i) {
            return from_levels[i] + from_mel[i] + static_cast<double>(vector("gru.b_ih")[i]);
        };
        const auto u = [&](std::size_t i) { return recurrent[i] + static_cast<double>(vector("gru.b_hh")[i]); };
        Doubles next(s_.hidden);
        for (std::size_t i = 0; i < s_.hidden; ++i) {
            const std::size_t iz = s_.hidden + i, in = 2 * s_.hidden + i;
            const double r = sigmoid(a(i) + u(i)), z = sigmoid(a(iz) + u(iz));
            next[i] = (1.0 - z) * std::tanh(a(in) + r * u(in)) + z * h[i];
        }
        return next;
    }

    Doubles parameters(const Doubles& h) const {
        Doubles f = product("head.fc.weight", h);
        for (std::size_t i = 0; i < f.size(); ++i)
            f[i] = std::max(f[i] + static_cast<double>(vector("head.fc.bias")[i]), 0.0);
        Doubles p = product("head.out.weight", f);
        for (std::size_t i = 0; i < p.size(); ++i)
            p[i] += static_cast<double>(vector("head.out.bias")[i]);
        return p;
    }

    void draw(const Doubles& p, std::size_t b, double temperature, double u, Trace& trace) const {
        const double* logit = p.data() + b * 3 * s_.mixtures;
        const double greatest = *std::max_element(logit, logit + s_.mixtures);
        double total = 0.0, margin = 1.0;
        for (std::size_t j = 0; j < s_.mixtures; ++j)
            total += std::exp((logit[j] - greatest) / temperature);
        int level = 0;
        for (int k = 1; k < kLevels; ++k) {
            double cumulative = 0.0;
            for (std::size_t j = 0; j < s_.mixtures; ++j) {
                const double mean = logit[s_.mixtures + j];
                const double scale = std::exp(std::max(logit[2 * s_.mixtures + j], -9.0)) * temperature;
                cumulative += std::exp((logit[j] - greatest) / temperature) / total *
                              sigmoid((companded(k - 0.5) - mean) / scale);
            }
            level += cumulative <= u;
            margin = std::min(margin, std::abs(cumulative - u));
        }
        trace.levels.push_back(static_cast<std::uint8_t>(level));
        trace.margins.push_back(margin);
    }

    const Model& model_;
    const VocoderShape& s_;
};

} // namespace lanewise::test
