// The whole vocoder on every ISA of this host against the slow reference, teacher-forced on random levels: each sampled
// level agrees unless the uniform number lies within 1e-5 of an edge of its distribution.
#include "memory_file.hpp"
#include "reference.hpp"
#include "stream.hpp"

using namespace lanewise;
using namespace lanewise::test;

namespace {

constexpr double kEdge = 1e-5;

void check_vocoder(Rng& rng, const Model& model, std::size_t frames, const std::string& what) {
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

    for (const Isa& isa : host_isas()) {
        const Vocoder vocoder(file.path(), isa.name);
        std::vector<std::uint8_t> levels(forced.size());
        std::vector<float> audio(frames * s.samples_per_frame());
        run(vocoder, {seed, number, temperature}, mel.data(), frames, {audio.data(), levels.data(), forced.data()});
        const std::string where = what + ", " + isa.name;
        for (std::size_t i = 0; i < levels.size(); ++i)
            CHECK(levels[i] == trace.levels[i] || trace.margins[i] <= kEdge, where + ", level " + std::to_string(i));
        const Doubles expected = reference.waveform(levels);
        for (std::size_t i = 0; i < audio.size(); ++i)
            CHECK(std::abs(static_cast<double>(audio[i]) - expected[i]) < 2e-6,
                  where + ", sample " + std::to_string(i));
    }
}

} // namespace

TEST(every_layout) {
    for (const Tiling& tiling : kTilings) {
        VocoderShape s = tiny_shape();
        s.bands = 4, s.hidden = 40, s.embed = 6, s.cond = 24, s.head = 36, s.mixtures = 4, s.mels = 10;
        s.steps_per_frame = 10, s.pqmf_taps = 64;
        check_vocoder(rng, random_model(rng, s, tiling, 0.4), 10, tiling.name());
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
        const Tiling& tiling = kTilings[pick(rng, 0, std::size(kTilings) - 1)];
        check_vocoder(rng, random_model(rng, s, tiling, 0.5, true), pick(rng, 1, 12), tiling.name());
    }
}

int main(int argc, char** argv) {
    return run_all(argc, argv);
}
