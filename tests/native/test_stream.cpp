// Streams: any cutting into pushes and pulls gives the same bits as a whole run, and nothing is allocated on the way.
#include "allocations.hpp"
#include "memory_file.hpp"
#include "model.hpp"
#include "stream.hpp"

using namespace lanewise;
using namespace lanewise::test;

namespace {

VocoderShape random_shape(Rng& rng) {
    VocoderShape s = tiny_shape();
    s.bands = pick(rng, 1, 6), s.mixtures = pick(rng, 1, 5), s.steps_per_frame = pick(rng, 1, 12);
    s.conv1_taps = pick(rng, 1, 7), s.conv2_taps = pick(rng, 1, 3);
    s.conv1_left = pick(rng, 0, s.conv1_taps - 1), s.conv2_left = pick(rng, 0, s.conv2_taps - 1);
    s.pqmf_taps = s.bands * pick(rng, 1, 9);
    return s;
}

} // namespace

TEST(counter) {
    const std::size_t before = allocations;
    const std::vector<float> one = normal(rng, 10);
    const Aligned<float> other(one.data(), one.size());
    const std::size_t after = allocations;
    CHECK(after == before + 2 && other[0] == one[0], std::to_string(after - before) + " counted");
}

TEST(pieces) {
    for (int round = 0; round < 30; ++round) {
        const Tiling& tiling = round % 3 ? tilings()[pick(rng, 0, tilings().size() - 1)] : kColumns;
        Model model = random_model(rng, random_shape(rng), {tiling}, 0.5);
        const VocoderShape& s = model.shape;
        if (DeltaProduct::fits(model.packed.at("gru.w_hh").matrix().view()))
            model.delta = 0.05f;
        MemoryFile file;
        file.set(Writer::bytes(model));
        const std::size_t frames = pick(rng, 1, 40);
        const std::vector<float> mel = normal(rng, frames * s.mels);
        const Sampling sampling{rng(), rng(), 0.8};
        for (const Isa& isa : host_isas()) {
            if (!runs_model(isa, model))
                continue;
            const Vocoder vocoder(file.path(), isa.name);
            std::vector<float> whole(frames * s.samples_per_frame()), pieces(whole.size());
            const double skipped = run(vocoder, sampling, mel.data(), frames, {whole.data(), nullptr, nullptr});

            Stream stream(vocoder, sampling);
            const std::size_t before = allocations;
            for (std::size_t pushed = 0, pulled = 0; pulled < frames;) {
                const std::size_t offered = pick(rng, 0, std::min<std::size_t>(frames - pushed, 12));
                pushed += stream.push(mel.data() + pushed * s.mels, offered);
                if (pushed == frames)
                    stream.finish();
                else
                    CHECK(stream.ready() + pulled <= pushed, "held back");
                Output output{pieces.data() + pulled * s.samples_per_frame(), nullptr, nullptr};
                pulled += stream.pull(output, pick(rng, 0, 12));
            }
            CHECK(allocations == before, "allocated while running");
            CHECK(stream.ready() == 0 && stream.push(mel.data(), 1) == 0, "after the end");
            CHECK(stream.skipped() == skipped, isa.name);
            CHECK(pieces == whole, isa.name + std::string(", frames ") + std::to_string(frames));
        }
    }
}

int main(int argc, char** argv) {
    return run_all(argc, argv);
}
