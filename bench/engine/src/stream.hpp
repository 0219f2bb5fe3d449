// A running vocoder: mel frames are pushed, audio is pulled. All memory is taken by the constructor.
#pragma once

#include "clock.hpp"
#include "frame_line.hpp"
#include "skip.hpp"
#include "vocoder.hpp"

namespace lanewise {

// Which random numbers, and how they are used.
struct Sampling {
    std::uint64_t seed = 0, utterance = 0; // key and counter
    double temperature = 1.0;
};

// Where pulled frames go; null members are skipped.
struct Output {
    float* audio = nullptr;               // (frames * samples_per_frame)
    std::uint8_t* levels = nullptr;       // (frames * steps_per_frame, bands): what was sampled
    const std::uint8_t* forced = nullptr; // (frames * steps_per_frame, bands): fed back instead of it
    float* parameters = nullptr;          // (frames * steps_per_frame, bands, 3, mixtures): what it was drawn from

    // The same from a later frame on.
    Output from(std::size_t frame, const VocoderShape& shape) const;
};

// How frames are grouped into pushes and pulls makes no difference to a bit of the audio. Used by one thread at a time;
// the vocoder must outlive it.
class Stream {
public:
    // Frames conditioned at once: their weights then leave the cache's other tenants alone for that many frames.
    static constexpr std::size_t kBlockFrames = 8;

    Stream(const Vocoder& vocoder, const Sampling& sampling);

    // Frames that can be pushed now; at least kBlockFrames when none can be pulled, until the stream is finished.
    std::size_t room() const;
    // Takes as many of the frames (frames, mels) as there is room for; returns how many.
    std::size_t push(const float* mel, std::size_t frames);
    // No frame follows: those held back for want of their right context can be pulled.
    void finish();
    // Frames that can be pulled now.
    std::size_t ready() const;
    // Makes up to `frames` frames; returns how many.
    std::size_t pull(const Output& output, std::size_t frames);
    // The same; Clock: NoClock or PartClock<kParts>.
    template <typename Clock> std::size_t pull(const Output& output, std::size_t frames, Clock& clock);
    // Share of the recurrent matrix's columns that skip gates and a delta threshold have left out so far; 0 without
    // any.
    double skipped() const {
        const double read = delta_ ? 1.0 - delta_->skipped() : 1.0; // in the steps that update the state
        return 1.0 - read * (skip_ ? 1.0 - skip_->skipped() : 1.0);
    }

private:
    void condition(std::size_t frames);
    void draw_uniforms();
    template <typename Clock> void run_frame(const Output& output, const float* conditioning, Clock& clock);

    const Vocoder& vocoder_;
    const Sampling sampling_;
    FrameLine mel_, c1_; // normalised features and output of the first convolution, zero frames around them
    std::size_t pushed_ = 0, convolved_ = 0, pulled_ = 0; // frames that entered mel_, that entered c1_, that left
    bool finished_ = false;
    Aligned<float> conv_, c_, gates_; // gates: (kBlockFrames, 3 * hidden)
    Aligned<float> h_, u_, f_, p_, scratch_;
    std::optional<DeltaProduct> delta_;
    std::optional<SkipGate> skip_;
    Aligned<double> exact_, uniforms_; // uniforms: (steps, kMaxBands)
    Aligned<std::uint8_t> levels_;     // of one frame (steps, bands)
    std::size_t history_, stride_;
    Aligned<float> planes_;                       // band samples (bands, history + steps)
    std::array<std::uint8_t, kMaxBands> level_{}; // fed back to the next step
};

// A whole utterance (frames, mels): a stream from its first frame to its last. Returns its skipped().
double run(const Vocoder& vocoder, const Sampling& sampling, const float* mel, std::size_t frames,
           const Output& output);
// The same, slowed a little by reading the clock after each part: nanoseconds of each.
std::array<double, kParts> run_timed(const Vocoder& vocoder, const Sampling& sampling, const float* mel,
                                     std::size_t frames, const Output& output);

} // namespace lanewise
