// The reader of packed enhancers: every damaged file is refused by one message that names it; nothing else happens.
#include "damage.hpp"
#include "enhancer_model.hpp"
#include "error.hpp"
#include "memory_file.hpp"

#include <limits>

using namespace lanewise;
using namespace lanewise::test;

namespace {

constexpr Tiling kStrips{Layout::row_group, Number::f32, 4, 1};

template <typename Network> void check_refused_by(const std::string& bytes, const std::string& expected) {
    MemoryFile file;
    file.set(bytes);
    std::string message = "accepted";
    try {
        const Network network(file.path(), "scalar");
    } catch (const Error& error) {
        message = error.what();
    }
    CHECK(message.find(expected) != std::string::npos, message + "; expected: " + expected);
    CHECK(message.rfind(file.path(), 0) == 0 && message.find('\n') == std::string::npos, message);
}
void check_refused(const std::string& bytes, const std::string& expected) {
    check_refused_by<Enhancer>(bytes, expected);
}

void run_briefly(const Enhancer& enhancer) {
    const std::vector<float> audio(2 * enhancer.shape().n_fft, 0.5f);
    std::vector<float> out(audio.size());
    enhance(enhancer, audio.data(), audio.size(), out.data());
}

std::string good_file(Rng& rng) {
    return Writer::bytes(random_enhancer(rng, tiny_enhancer(), {kStrips}, 1.0));
}

} // namespace

TEST(the_other_network) {
    check_refused(Writer::bytes(random_model(rng, tiny_shape(), {kStrips}, 1.0)), "is a vocoder, expected an enhancer");
    check_refused_by<Vocoder>(good_file(rng), "is an enhancer, expected a vocoder");
    std::string bad = good_file(rng);
    set(bad, {"task"}, "\"singer\"");
    check_refused(bad, "neither vocoder nor enhancer");
    check_refused_by<Vocoder>(bad, "neither vocoder nor enhancer");
    set(bad, {"task"}, "1");
    check_refused(bad, "'task'");
}

TEST(header) {
    struct Case {
        std::vector<std::string> path;
        std::string value, expected;
    };
    const std::vector<Case> cases = {
        {{"cell"}, "\"rnn\"", "cell must be"},
        {{"cell"}, "1", "'cell'"},
        {{"cell"}, "\"gru\"", "expected"},
        {{"layers"}, "0", "'layers' must be a whole number"},
        {{"layers"}, "9", "'layers' must be a whole number"},
        {{"layers"}, "3", "'hidden2'"},
        {{"layers"}, "1", "fc.weight"},
        {{"hidden0"}, "7", "expected"},
        {{"hidden1"}, "1e30", "'hidden1' must be a whole number"},
        {{"hidden1"}, "0", "'hidden1' must be a whole number"},
        {{"fc"}, "8", "fc.weight"},
        {{"fc"}, "-1", "'fc' must be"},
        {{"mels"}, "1024", "mels holds no bin"},
        {{"mels"}, "1025", "'mels' must be"},
        {{"mels"}, "5", "rnn.0.w_ih"},
        {{"n_fft"}, "192", "power of two"},
        {{"n_fft"}, "64", "'n_fft' must be"},
        {{"n_fft"}, "8192", "'n_fft' must be"},
        {{"hop"}, "0", "'hop' must be"},
        {{"hop"}, "65", "'hop' must be"},
        {{"hop"}, "48", "not a multiple of hop"},
        {{"mask_bits"}, "17", "'mask_bits' must be"},
        {{"sample_rate_hz"}, "0", "'sample_rate_hz' must be"},
        {{"low_hz"}, "-1", "'low_hz' must be"},
        {{"low_hz"}, "8001", "'low_hz' must be"},
        {{"low_hz"}, "8000", "holds no bin"},
        {{"feature_std", "size"}, "3", "expected 4"},
        {{"rnn.0.bias", "size"}, "23", "expected 24"},
        {{"rnn.1.w_hh", "gates"}, "2", "has 2 gates, expected 4 or 1"},
        {{"rnn.1.w_hh", "index", "size"}, "0", "number of indices"},
        {{"mask.weight", "rows"}, "5", "expected 4 x 7"},
    };
    const std::string good = good_file(rng);
    MemoryFile file;
    file.set(good);
    run_briefly(Enhancer(file.path(), "scalar"));
    for (const Case& each : cases) {
        std::string bad = good;
        set(bad, each.path, each.value);
        check_refused(bad, each.expected);
    }
    for (const float value : {0.0f, -1.0f, 1e-45f, std::numeric_limits<float>::infinity()}) {
        std::string bad = good;
        put(bad, number(bad, {"feature_std", "offset"}), value);
        sign(bad);
        check_refused(bad, "feature_std");
    }
}

TEST(missing_kernels) {
    for (const Isa& isa : host_isas()) {
        for (const Tiling& tiling : tilings()) {
            const EnhancerModel model = random_enhancer(rng, tiny_enhancer(), {tiling}, 1.0);
            MemoryFile file;
            file.set(Writer::bytes(model));
            std::string message;
            try {
                run_briefly(Enhancer(file.path(), isa.name));
            } catch (const Error& error) {
                message = error.what();
            }
            CHECK(message.empty() == runs_model(isa, model), message);
            CHECK(message.empty() || message.find(std::string("no kernel on ") + isa.name) != std::string::npos,
                  message);
        }
    }
}

// With the checksum made right, any content is refused or runs. Few changes of a tile's padding are accepted (32x1: one
// in nine), so rounds go on until one ran.
TEST(random_damage) {
    for (const Tiling& tiling : tilings()) {
        const std::string good = Writer::bytes(random_enhancer(rng, tiny_enhancer(), {tiling}, 1.0));
        MemoryFile file;
        int ran = 0;
        for (int round = 0; round < 60 || (ran == 0 && round < 1000); ++round) {
            std::string bad = good;
            for (std::size_t i = pick(rng, 1, 4); i > 0; --i)
                bad[pick(rng, kPrefixBytes, bad.size() - 1)] = static_cast<char>(pick(rng, 0, 255));
            sign(bad);
            file.set(bad);
            try {
                run_briefly(Enhancer(file.path(), host_isas().back().name));
                ++ran;
            } catch (const Error&) {
            }
        }
        CHECK(ran > 0, tiling.name());
    }
}

int main(int argc, char** argv) {
    return run_all(argc, argv);
}
