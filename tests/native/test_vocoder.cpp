// The whole vocoder on every ISA of this host against the slow reference, teacher-forced on random levels: each sampled
// level agrees unless the uniform number lies within 1e-5 of an edge of its distribution. In bf16 and int8 a state that
// differs in its last bit may be rounded to another step, after which levels differ for a while: there most agree.
#include "memory_file.hpp"
#include "reference.hpp"
#include "stream.hpp"

using namespace lanewise;
using namespace lanewise::test;

namespace {

constexpr double kEdge = 1e-5;
// Levels that may differ where inputs are rounded: a share (3640 runs had 0.03 at most), and a few of however few.
constexpr double kMostDiffer = 0.1, kAnyDiffer = 3.0;

// Returns how many steps were compared.
std::size_t check_vocoder(Rng& rng, const Model& model, std::size_t frames, const std::string& what) {
    const VocoderShape& s = model.shape;
    MemoryFile file;
    file.set(Writer::bytes(model));
    const std::vector<float> mel = normal(rng, frames * s.mels);
    std::vector<std::uint8_t> forced(frames * s.steps_per_frame * s.bands);
    for (std::uint8_t& level : forced)
        level = static_cast<std::uint8_t>(pick(rng, 90, 166));
    const std::uint64_t seed = rng(), number = rng();
    const double temperature = 0.7 + 0.1 * static_cast<double>(pick(rng, 0, 5));
    const Reference reference(model);
    const Trace trace = reference.run(mel, frames, seed, number, temperature, forced);

    bool rounded = false;
    for (const auto& [name, plain] : model.plain)
        rounded = rounded || plain.tiling.number != Number::f32;
    for (const Isa& isa : host_isas()) {
        if (!runs_model(isa, model))
            continue;
        const Vocoder vocoder(file.path(), isa.name);
        std::vector<std::uint8_t> levels(forced.size());
        std::vector<float> audio(frames * s.samples_per_frame());
        run(vocoder, {seed, number, temperature}, mel.data(), frames, {audio.data(), levels.data(), forced.data()});
        const std::string where = what + ", " + isa.name;
        std::size_t differ = 0;
        for (std::size_t i = 0; i < trace.sure_steps * s.bands; ++i) {
            const bool agrees = levels[i] == trace.levels[i] || trace.margins[i] <= kEdge;
            CHECK(agrees || rounded, where + ", level " + std::to_string(i));
            differ += !agrees;
        }
        CHECK(static_cast<double>(differ) <= kAnyDiffer + kMostDiffer * static_cast<double>(levels.size()),
              where + ", " + std::to_string(differ) + " of " + std::to_string(levels.size()) + " levels differ");
        const Doubles expected = reference.waveform(levels);
        for (std::size_t i = 0; i < audio.size(); ++i)
            CHECK(std::abs(static_cast<double>(audio[i]) - expected[i]) < 2e-6,
                  where + ", sample " + std::to_string(i));
    }
    return trace.sure_steps;
}

} // namespace

TEST(every_kernel) {
    for (const Tiling& tiling : tilings()) {
        VocoderShape s = tiny_shape();
        s.bands = 4, s.hidden = 40, s.embed = 6, s.cond = 24, s.head = 36, s.mixtures = 4, s.mels = 10;
        s.steps_per_frame = 10, s.pqmf_taps = 64;
        check_vocoder(rng, random_model(rng, s, {tiling}, 0.4), 10, tiling.name());
    }
}

// Sizes that fit no vector, and layouts that read behind their inputs wherever there is one.
TEST(odd_shapes) {
    for (int round = 0; round < 40; ++round) {
        VocoderShape s{};
        s.bands = pick(rng, 1, 16), s.hidden = pick(rng, 1, 40), s.embed = pick(rng, 1, 5), s.cond = pick(rng, 1, 20);
        s.head = pick(rng, 1, 20), s.mixtures = pick(rng, 1, 16), s.mels = pick(rng, 1, 20);
        s.steps_per_frame = pick(rng, 1, 20), s.conv1_taps = pick(rng, 1, 7), s.conv2_taps = pick(rng, 1, 3);
        s.conv1_left = pick(rng, 0, s.conv1_taps - 1), s.conv2_left = pick(rng, 0, s.conv2_taps - 1);
        s.pqmf_taps = s.bands * pick(rng, 1, 9);
        const Tiling& tiling = tilings()[pick(rng, 0, tilings().size() - 1)];
        check_vocoder(rng, random_model(rng, s, {tiling}, 0.5, true), pick(rng, 1, 12), tiling.name());
    }
}

// Delta networks, whose every step depends on which elements of the state moved; thresholds at which many do not.
TEST(delta_thresholds) {
    std::size_t sure = 0, all = 0;
    for (int round = 0; round < 20; ++round) {
        VocoderShape s = tiny_shape();
        s.bands = 4, s.hidden = pick(rng, 1, 40), s.embed = 6, s.cond = 24, s.head = 36, s.mixtures = 4, s.mels = 10;
        s.steps_per_frame = 40, s.pqmf_taps = 64;
        Model model = random_model(rng, s, {round % 2 ? kDense : kColumns}, 0.5);
        model.delta = std::vector<float>{0.01f, 0.05f, 0.2f}[pick(rng, 0, 2)];
        const auto steps = check_vocoder(rng, model, 8, "delta " + std::to_string(*model.delta));
        sure += steps, all += 8 * s.steps_per_frame;
    }
    CHECK(2 * sure > all, std::to_string(sure) + " of " + std::to_string(all) + " steps could be compared");
}

int main(int argc, char** argv) {
    return run_all(argc, argv);
}
