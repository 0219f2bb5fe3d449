// The enhancer on every ISA of this host against the slow reference, and its streams. In bf16 and int8 a state that
// differs in its last bit may be rounded to another step, so that masks differ a little now and then.
#include "allocations.hpp"
#include "enhancer_model.hpp"
#include "memory_file.hpp"

using namespace lanewise;
using namespace lanewise::test;

namespace {

constexpr double kMaskError = 3e-6, kAudioError = 1e-5;           // f32
constexpr double kRoundedError = 0.1, kMostlyRoundedError = 5e-3; // elsewhere: at most, and of half of all masks
constexpr double kStep = 1.0 / 65535;                             // a rounded mask may go to either side

bool all_f32(const EnhancerModel& model) {
    return std::all_of(model.plain.begin(), model.plain.end(),
                       [](const auto& named) { return named.second.tiling.number == Number::f32; });
}

void check_enhancer(Rng& rng, const EnhancerModel& model, const std::string& what) {
    const EnhancerShape& s = model.shape;
    MemoryFile file;
    file.set(Writer::bytes(model));
    const std::size_t frames = pick(rng, 1, 20), samples = pick(rng, 1, 6 * s.n_fft);
    const std::vector<float> features = normal(rng, frames * s.mels), audio = normal(rng, samples, 0.1);
    Doubles expected;
    EnhancerReference network(model), whole(model);
    for (std::size_t f = 0; f < frames; ++f) {
        const Doubles mask = network.step({features.begin() + static_cast<std::ptrdiff_t>(f * s.mels),
                                           features.begin() + static_cast<std::ptrdiff_t>((f + 1) * s.mels)});
        expected.insert(expected.end(), mask.begin(), mask.end());
    }
    const bool exact = all_f32(model);
    const Doubles clean = exact ? whole.enhance(audio) : Doubles{};
    for (const Isa& isa : host_isas()) {
        if (!runs_model(isa, model))
            continue;
        const std::string where = what + ", " + isa.name;
        const Enhancer enhancer(file.path(), isa.name);
        std::vector<float> mask(expected.size()), out(samples), pieces;
        EnhancerStream stream(enhancer);
        Doubles errors;
        for (std::size_t f = 0; f < frames; ++f)
            stream.step(features.data() + f * s.mels, mask.data() + f * s.mels);
        for (std::size_t i = 0; i < mask.size(); ++i)
            errors.push_back(std::abs(static_cast<double>(mask[i]) - expected[i]));
        std::sort(errors.begin(), errors.end());
        const double rounding = s.mask_bits ? kStep : 0.0;
        CHECK(errors.back() < (exact ? kMaskError : kRoundedError) + rounding, where + std::to_string(errors.back()));
        CHECK(errors[errors.size() / 2] < (exact ? kMaskError : kMostlyRoundedError) + rounding, where);

        enhance(enhancer, audio.data(), samples, out.data());
        for (std::size_t i = 0; i < clean.size(); ++i) {
            CHECK(std::abs(static_cast<double>(out[i]) - clean[i]) < kAudioError + 4 * rounding,
                  where + ", sample " + std::to_string(i));
        }

        // A stream of its hops, in place, and without an allocation.
        EnhancerStream hops(enhancer);
        std::vector<float> padded((samples + s.delay() + s.hop - 1) / s.hop * s.hop);
        std::copy(audio.begin(), audio.end(), padded.begin());
        const std::size_t before = allocations;
        for (std::size_t begin = 0; begin < padded.size(); begin += s.hop)
            hops.push(padded.data() + begin, padded.data() + begin);
        CHECK(allocations == before, "allocated while running");
        CHECK(std::equal(out.begin(), out.end(), padded.begin() + static_cast<std::ptrdiff_t>(s.delay())), where);
    }
}

} // namespace

TEST(every_kernel) {
    for (const Tiling& tiling : tilings()) {
        for (const bool gru : {false, true}) {
            EnhancerShape s = tiny_enhancer();
            s.gru = gru, s.hidden = {36, 40}, s.fc = 33, s.mels = 12;
            check_enhancer(rng, random_enhancer(rng, s, {tiling}, 0.5), tiling.name() + (gru ? " gru" : " lstm"));
        }
    }
}

// Sizes that fit no vector, layers of different widths, several tilings in one network.
TEST(odd_shapes) {
    for (int round = 0; round < 40; ++round) {
        const Tiling &first = tilings()[pick(rng, 0, tilings().size() - 1)], &second = kDense;
        const EnhancerModel model = random_enhancer(rng, random_enhancer_shape(rng), {first, second}, 0.5);
        check_enhancer(rng, model, first.name());
    }
}

TEST(transforms) {
    for (std::size_t n = Fft::kLeast; n <= Fft::kMost; n *= 2) {
        const Fft fft(n);
        const std::vector<float> x = normal(rng, n);
        const std::vector<float> window(n, 1.0f);
        Aligned<float> scratch(fft.scratch_floats());
        const std::size_t bin = pick(rng, 0, n / 2);
        std::complex<double> expected = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double angle = -2.0 * std::numbers::pi * static_cast<double>(bin * i % n) / static_cast<double>(n);
            expected += static_cast<double>(x[i]) * std::polar(1.0, angle);
        }
        const double size = std::sqrt(static_cast<double>(n));
        for (const Isa& isa : host_isas()) {
            std::vector<float> re(fft.bins()), im(fft.bins()), back(n);
            isa.kernels->spectrum(fft.view(), x.data(), window.data(), re.data(), im.data(), scratch.data());
            const std::complex<double> found(static_cast<double>(re[bin]), static_cast<double>(im[bin]));
            CHECK(std::abs(found - expected) < 2e-6 * size, isa.name + std::to_string(n));
            isa.kernels->overlap_add(fft.view(), re.data(), im.data(), window.data(), back.data(), scratch.data());
            for (std::size_t i = 0; i < n; ++i) {
                const double scaled = static_cast<double>(back[i]) / static_cast<double>(n / 2);
                CHECK(std::abs(scaled - static_cast<double>(x[i])) < 1e-5, isa.name + std::to_string(n));
            }
        }
    }
}

int main(int argc, char** argv) {
    return run_all(argc, argv);
}
