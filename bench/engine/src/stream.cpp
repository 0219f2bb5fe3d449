#include "stream.hpp"

#include "philox.hpp"
#include "quantiser.hpp"

#include <algorithm>
#include <functional>

namespace lanewise {

Output Output::from(std::size_t frame, const VocoderShape& s) const {
    const std::size_t n = frame * s.samples_per_frame(); // of audio, and of levels: a step gives one in every band
    return {audio ? audio + n : nullptr, levels ? levels + n : nullptr, forced ? forced + n : nullptr,
            parameters ? parameters + n * 3 * s.mixtures : nullptr};
}

Stream::Stream(const Vocoder& vocoder, const Sampling& sampling)
    : vocoder_(vocoder), sampling_(sampling),
      mel_(vocoder.shape().mels, 2 * vocoder.shape().conv1_taps + vocoder.shape().conv2_taps + kBlockFrames),
      c1_(vocoder.shape().cond, vocoder.shape().conv2_taps + kBlockFrames) {
    const VocoderShape& s = vocoder.shape();
    mel_.add_zeros(s.conv1_left);
    c1_.add_zeros(s.conv2_left);
    conv_ = Aligned<float>(s.cond);
    c_ = Aligned<float>(s.cond + kInputPadding);
    gates_ = Aligned<float>(kBlockFrames * 3 * s.hidden);
    h_ = Aligned<float>(s.hidden + kInputPadding);
    u_ = Aligned<float>(3 * s.hidden);
    f_ = Aligned<float>(s.head + kInputPadding);
    p_ = Aligned<float>(s.bands * 3 * s.mixtures);
    scratch_ =
        Aligned<float>(std::max({s.conv1_taps * s.mels, s.conv2_taps * s.cond, s.hidden, s.head}) + kInputPadding);
    if (vocoder.delta_)
        delta_.emplace(vocoder.w_hh_.matrix.view(), *vocoder.kernels_, *vocoder.delta_);
    if (vocoder.skip_weight_.size())
        skip_.emplace(vocoder.skip_weight_.data(), vocoder.skip_bias_, s.hidden);
    if (vocoder.exact_head_)
        exact_ = Aligned<double>(vocoder.exact_head_->scratch_size());
    uniforms_ = Aligned<double>(s.steps_per_frame * kMaxBands);
    levels_ = Aligned<std::uint8_t>(s.steps_per_frame * s.bands);
    history_ = s.pqmf_taps / s.bands - 1;
    stride_ = history_ + s.steps_per_frame;
    planes_ = Aligned<float>(s.bands * stride_);
    level_.fill(kSilentLevel);
}

std::size_t Stream::room() const {
    const std::size_t reserved = vocoder_.shape().conv1_right(); // for the zero frames of finish()
    return finished_ ? 0 : mel_.room() - reserved;
}

std::size_t Stream::push(const float* mel, std::size_t frames) {
    const VocoderShape& s = vocoder_.shape();
    const std::size_t taken = std::min(frames, room());
    for (std::size_t i = 0; i < taken; ++i) {
        vocoder_.kernels_->normalise(s.mels, mel + i * s.mels, vocoder_.mel_mean_.data(), vocoder_.mel_scale_.data(),
                                     mel_.add());
    }
    pushed_ += taken;
    return taken;
}

void Stream::finish() {
    if (!finished_)
        mel_.add_zeros(vocoder_.shape().conv1_right());
    finished_ = true;
}

std::size_t Stream::ready() const {
    const std::size_t held_back = finished_ ? 0 : vocoder_.shape().lookahead();
    return pushed_ - pulled_ > held_back ? pushed_ - pulled_ - held_back : 0;
}

// The GRU's input products of the next frames, at most kBlockFrames.
void Stream::condition(std::size_t frames) {
    const Vocoder& v = vocoder_;
    const VocoderShape& s = v.shape();
    for (std::size_t i = 0; i < frames; ++i) {
        while (c1_.size() < s.conv2_taps) {
            float* c1 = c1_.add();
            if (convolved_ == pushed_) { // only ever true behind the last frame
                std::fill_n(c1, s.cond, 0.0f);
                continue;
            }
            v.conv1_(mel_.front(), c1, scratch_.data());
            v.kernels_->bias_relu(s.cond, v.conv1_bias_.data(), c1);
            mel_.drop();
            ++convolved_;
        }
        v.conv2_(c1_.front(), conv_.data(), scratch_.data());
        std::copy_n(c1_.front() + s.conv2_left * s.cond, s.cond, c_.data());
        v.kernels_->add_bias_relu(s.cond, conv_.data(), v.conv2_bias_.data(), c_.data());
        c1_.drop();
        float* gates = gates_.data() + i * 3 * s.hidden;
        v.w_cond_(c_.data(), gates, scratch_.data());
        for (std::size_t j = 0; j < 3 * s.hidden; ++j)
            gates[j] += v.gate_bias_[j];
    }
}

// The random numbers of a whole frame: side by side their long chains of multiplications overlap.
void Stream::draw_uniforms() {
    const VocoderShape& s = vocoder_.shape();
    const Key key{static_cast<std::uint32_t>(sampling_.seed), static_cast<std::uint32_t>(sampling_.seed >> 32)};
    for (std::size_t i = 0; i < s.steps_per_frame; ++i) {
        const std::uint64_t step = pulled_ * s.steps_per_frame + i;
        for (std::size_t b = 0; b < s.bands; b += 4) {
            // Beyond 2^32 steps (12 days of speech) their upper half joins the number of the four bands.
            const Counter words =
                philox({static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(b / 4 | step >> 32 << 8),
                        static_cast<std::uint32_t>(sampling_.utterance),
                        static_cast<std::uint32_t>(sampling_.utterance >> 32)},
                       key);
            for (std::size_t k = 0; k < 4; ++k)
                uniforms_[i * kMaxBands + b + k] = uniform(words[k]);
        }
    }
}

template <typename Clock> void Stream::run_frame(const Output& output, const float* conditioning, Clock& clock) {
    const Vocoder& v = vocoder_;
    const VocoderShape& s = v.shape();
    const Mixture mixture{static_cast<int>(s.bands), static_cast<int>(s.mixtures), sampling_.temperature, &v.edges_,
                          v.out_bias_.data()};
    GruStep gru{s.hidden, conditioning, {}, static_cast<int>(s.bands), u_.data(), v.recurrent_bias_n_.data(), {}};
    draw_uniforms();
    for (std::size_t i = 0; i < s.steps_per_frame; ++i) {
        if (!skip_ || skip_->opens()) { // a state that is held has the distribution that it had
            if (delta_)
                (*delta_)(h_.data(), u_.data(), scratch_.data());
            else
                v.w_hh_(h_.data(), u_.data(), scratch_.data());
            for (std::size_t b = 0; b < s.bands; ++b) {
                gru.table_rows[b] = v.tables_.row(b, level_[b]);
                gru.row_scales[b] = v.tables_.scale(b, level_[b]);
            }
            v.gates_kernel_(gru, h_.data());
            clock.lap(kGru);

            v.fc_(h_.data(), f_.data(), scratch_.data());
            v.kernels_->bias_relu(s.head, v.fc_bias_.data(), f_.data());
            v.out_(f_.data(), p_.data(), scratch_.data());
        }
        if (skip_)
            skip_->step(h_.data());
        if (output.parameters) {
            std::transform(p_.data(), p_.data() + p_.size(), v.out_bias_.data(), output.parameters + i * p_.size(),
                           std::plus<>());
        }
        clock.lap(kHeads);

        const double* uniform = uniforms_.data() + i * kMaxBands;
        if (!v.kernels_->sample(mixture, p_.data(), uniform, level_.data()) && v.exact_head_)
            v.exact_head_->sample(mixture, h_.data(), uniform, exact_.data(), level_.data());
        std::copy_n(level_.data(), s.bands, levels_.data() + i * s.bands);
        if (output.forced)
            std::copy_n(output.forced + i * s.bands, s.bands, level_.data());
        clock.lap(kSampling);
    }
    if (output.levels)
        std::copy_n(levels_.data(), s.steps_per_frame * s.bands, output.levels);
    for (std::size_t b = 0; b < s.bands; ++b) {
        const float* centres = v.centres_.data() + b * kLevels;
        float* plane = planes_.data() + b * stride_ + history_;
        for (std::size_t i = 0; i < s.steps_per_frame; ++i)
            plane[i] = centres[levels_[i * s.bands + b]];
    }
    if (output.audio) {
        v.kernels_->synthesise({s.bands, s.pqmf_taps, v.filters_.data()}, planes_.data() + history_, stride_,
                               s.steps_per_frame, output.audio);
    }
    for (std::size_t b = 0; b < s.bands; ++b) { // what the next frame's filters still reach
        float* plane = planes_.data() + b * stride_;
        std::memmove(plane, plane + s.steps_per_frame, history_ * sizeof(float));
    }
    clock.lap(kSynthesis);
}

template <typename Clock> std::size_t Stream::pull(const Output& output, std::size_t frames, Clock& clock) {
    const VocoderShape& s = vocoder_.shape();
    const std::size_t all = std::min(frames, ready());
    for (std::size_t done = 0; done < all;) {
        const std::size_t block = std::min(kBlockFrames, all - done);
        condition(block);
        clock.lap(kConditioning);
        for (std::size_t i = 0; i < block; ++i, ++done, ++pulled_)
            run_frame(output.from(done, s), gates_.data() + i * 3 * s.hidden, clock);
    }
    return all;
}

std::size_t Stream::pull(const Output& output, std::size_t frames) {
    NoClock clock;
    return pull(output, frames, clock);
}

namespace {

template <typename Clock>
double run_with(const Vocoder& vocoder, const Sampling& sampling, const float* mel, std::size_t frames,
                const Output& output, Clock& clock) {
    Stream stream(vocoder, sampling);
    clock.start();
    for (std::size_t pushed = 0, pulled = 0; pulled < frames;) {
        pushed += stream.push(mel + pushed * vocoder.shape().mels, frames - pushed);
        if (pushed == frames)
            stream.finish();
        pulled += stream.pull(output.from(pulled, vocoder.shape()), frames - pulled, clock);
    }
    return stream.skipped();
}

} // namespace

double run(const Vocoder& vocoder, const Sampling& sampling, const float* mel, std::size_t frames,
           const Output& output) {
    NoClock clock;
    return run_with(vocoder, sampling, mel, frames, output, clock);
}

std::array<double, kParts> run_timed(const Vocoder& vocoder, const Sampling& sampling, const float* mel,
                                     std::size_t frames, const Output& output) {
    PartClock<kParts> clock;
    run_with(vocoder, sampling, mel, frames, output, clock);
    return clock.parts_ns();
}

} // namespace lanewise
