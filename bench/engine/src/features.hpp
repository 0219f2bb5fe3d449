// Log-mel features of 16 kHz speech, one frame every 160 samples, as bench/data/features.py defines them: magnitude
// spectrum of a periodic Hann window of 640 samples centred in 1024, frame f centred on the middle of its hop,
// 80 slaney mel bands over 0 to 8000 Hz, natural logarithm floored at 1e-5.
#pragma once

#include <complex>
#include <cstddef>
#include <vector>

namespace lanewise {

class LogMel {
public:
    static constexpr std::size_t kSampleRateHz = 16000, kHop = 160, kFft = 1024, kMels = 80;
    static constexpr std::size_t kPad = (kFft - kHop) / 2; // samples that the first and last frames reflect

    LogMel();

    // Frames that `samples` samples give; 0 if there are too few to reflect.
    static std::size_t frames(std::size_t samples);
    // One frame (kMels) of audio whose sample i, below frames * kHop, is at(i). Allocates nothing.
    template <typename At> void frame(std::size_t frame, std::size_t frames, At at, float* mel) const {
        float window[kFft];
        const auto last = static_cast<std::ptrdiff_t>(frames * kHop) - 1;
        for (std::size_t i = 0; i < kFft; ++i) {
            auto k = static_cast<std::ptrdiff_t>(frame * kHop + i) - static_cast<std::ptrdiff_t>(kPad);
            k = k < 0 ? -k : k > last ? 2 * last - k : k; // reflected at both ends
            window[i] = at(static_cast<std::size_t>(k));
        }
        transform(window, mel);
    }

private:
    struct Filter {
        std::size_t first; // bin of its first weight
        std::vector<float> weights;
    };
    void transform(const float* window, float* mel) const;

    std::vector<float> hann_;                    // (kFft), zero around the window
    std::vector<std::complex<double>> twiddles_; // exp(-2 pi i k / kFft), k < kFft / 2
    std::vector<Filter> filters_;
};

} // namespace lanewise
