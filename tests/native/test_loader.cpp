// The reader of packed models: every damaged file is refused by one message that names it; nothing else happens.
#include "damage.hpp"
#include "error.hpp"
#include "memory_file.hpp"
#include "model.hpp"
#include "stream.hpp"

#include <limits>

using namespace lanewise;
using namespace lanewise::test;

namespace {

void check_refused(const MemoryFile& file, const std::string& expected) {
    std::string message = "accepted";
    try {
        const Vocoder vocoder(file.path(), "scalar");
    } catch (const Error& error) {
        message = error.what();
    }
    CHECK(message.find(expected) != std::string::npos, message + "; expected: " + expected);
    CHECK(message.rfind(file.path(), 0) == 0 && message.find('\n') == std::string::npos, message);
}
void check_refused(const std::string& bytes, const std::string& expected) {
    MemoryFile file;
    file.set(bytes);
    check_refused(file, expected);
}

std::string good_file(Rng& rng, const Tiling& tiling) {
    return Writer::bytes(random_model(rng, tiny_shape(), {tiling}, 1.0));
}

void run_briefly(const Vocoder& vocoder) {
    const VocoderShape& s = vocoder.shape();
    const std::vector<float> mel(2 * s.mels, 0.5f);
    std::vector<float> audio(2 * s.samples_per_frame());
    std::vector<std::uint8_t> levels(2 * s.steps_per_frame * s.bands);
    run(vocoder, {1, 2, 1.0}, mel.data(), 2, {audio.data(), levels.data()});
}

constexpr Tiling kStrips{Layout::row_group, Number::f32, 4, 1}, kRows{Layout::dot_group, Number::f32, 1, 4};
constexpr Tiling kBf16{Layout::row_group, Number::bf16, 16, 1}, kInt8{Layout::row_group, Number::int8, 16, 1};

} // namespace

TEST(envelope) {
    const std::string good = good_file(rng, kStrips);
    MemoryFile file;
    file.set(good);
    run_briefly(Vocoder(file.path(), "scalar"));

    check_refused("", "not a packed model");
    check_refused(good.substr(0, 31), "not a packed model");
    check_refused("RIFF" + good.substr(4), "not a packed model");
    check_refused(good.substr(0, good.size() - 1), "truncated");
    check_refused(good + '\0', "appended");
    std::string bad = good;
    put(bad, 8, kVersion + 1);
    check_refused(bad, "format version");
    for (const std::uint32_t header_bytes : {0xffffffffu, static_cast<std::uint32_t>(good.size() - kPrefixBytes + 1)}) {
        bad = good;
        put(bad, 12, header_bytes);
        sign(bad);
        check_refused(bad, "larger than");
    }
    for (int round = 0; round < 200; ++round) { // any flipped bit
        bad = good;
        char& byte = bad[pick(rng, 0, bad.size() - 1)];
        byte = static_cast<char>(byte ^ 1 << pick(rng, 0, 7));
        check_refused(bad, "");
    }
}

// A file of a terabyte, none of it stored: refused before anything of its size is allocated.
TEST(enormous_file) {
    std::string prefix = good_file(rng, kStrips).substr(0, kPrefixBytes);
    put(prefix, 16, std::uint64_t{1} << 40);
    MemoryFile file;
    file.set_sparse(prefix, std::uint64_t{1} << 40);
    check_refused(file, "larger than");
}

TEST(json) {
    const std::string good = good_file(rng, kStrips);
    const auto check = [&](const std::string& header, const std::string& expected) {
        std::string bad = good.substr(0, kPrefixBytes) + header;
        put(bad, 12, static_cast<std::uint32_t>(header.size()));
        sign(bad);
        check_refused(bad, expected);
    };
    for (const char* text : {"",    "{",     "}",     "[1,",  "{\"a\"}",     "{\"a\":1,}", "{a:1}",    "{} {}",
                             "nul", "tru",   "\"",    "\"\\", "\"\\u0041\"", "\"\x01\"",   "\"\x80\"", "-",
                             "+1",  "1e999", "1.2.3", "0x10", "inf",         "nan",        "--1",      "1e"})
        check(text, "not valid JSON");
    check(R"({"a":1,"a":2})", "given twice");
    check(std::string(100000, '['), "nested too deeply");
    check(std::string(std::size_t{1} << 21, ' '), "larger than");
    for (const char* text : {"[]", "1", "null", "\"dims\"", R"({"dims":1})", R"({"dims":{"bands":"4"}})"})
        check(text, "header");
}

TEST(header) {
    struct Case {
        std::vector<std::string> path;
        std::string value, expected;
    };
    const std::vector<Case> cases = {
        {{"hidden"}, "7", "expected"},
        {{"hidden"}, "0", "'hidden' must be a whole number"},
        {{"hidden"}, "-1", "'hidden' must be a whole number"},
        {{"hidden"}, "1e30", "'hidden' must be a whole number"},
        {{"bands"}, "1.5", "'bands' must be"},
        {{"bands"}, "17", "'bands' must be"},
        {{"mixtures"}, "17", "'mixtures' must be"},
        {{"conv1_left"}, "5", "'conv1_left' must be"},
        {{"pqmf_taps"}, "9", "multiple"},
        {{"mel_mean", "size"}, "4", "expected 3"},
        {{"mel_mean", "size"}, "4294967296", "outside the file"},
        {{"mel_mean", "offset"}, "1", "outside the file"},
        {{"mel_mean", "offset"}, "4294967232", "outside the file"},
        {{"mel_mean", "offset"}, "-64", "whole number"},
        {{"gru.w_hh", "layout"}, "\"spiral\"", "unknown matrix layout"},
        {{"gru.w_hh", "layout"}, "1", "'layout'"},
        {{"gru.w_hh", "layout"}, "\"dense\"", "gru.w_hh"},
        {{"gru.w_hh", "number"}, "\"f16\"", "unknown number format"},
        {{"gru.w_hh", "number"}, "\"\"", "unknown number format"},
        {{"gru.w_hh", "number"}, "8", "'number'"},
        {{"gru.w_hh", "number"}, "\"int8\"", "gru.w_hh"},
        {{"gru.w_hh", "tile_rows"}, "8", "gru.w_hh"},
        {{"gru.w_hh", "tile_rows"}, "3", "no kernel"},
        {{"gru.w_hh", "tile_rows"}, "0", "'tile_rows' must be"},
        {{"gru.w_hh", "tile_rows"}, "65", "'tile_rows' must be"},
        {{"gru.w_hh", "tile_cols"}, "4", "gru.w_hh"},
        {{"gru.w_hh", "tile_cols"}, "5", "no kernel"},
        {{"gru.w_hh", "tile_cols"}, "0", "'tile_cols' must be"},
        {{"gru.w_hh", "tile_cols"}, "4294967297", "'tile_cols' must be"},
        {{"gru.w_hh", "rows"}, "65536", "expected"},
        {{"gru.w_hh", "cols"}, "5", "expected"},
        {{"gru.w_hh", "gates"}, "2", "has 2 gates, expected 3 or 1"},
        {{"gru.w_hh", "gates"}, "0", "'gates' must be"},
        {{"gru.w_hh", "weights", "size"}, "1", "number of weights"},
        {{"gru.w_hh", "index", "size"}, "0", "number of indices"},
        {{"gru.w_hh", "counts", "size"}, "7", "number of tile counts"},
        {{"gru.w_hh", "counts", "size"}, "4294967295", "outside the file"},
        {{"gru.w_hh", "scales", "size"}, "1", "number of scales"},
        {{"gru.w_hh", "scales", "size"}, "-1", "whole number"},
        {{"gru.w_hh", "scales", "offset"}, "32", "outside the file"},
    };
    const std::string good = good_file(rng, kStrips);
    for (const Case& each : cases) {
        std::string bad = good;
        set(bad, each.path, each.value);
        check_refused(bad, each.expected);
    }
}

TEST(delta_thresholds) {
    Model model = random_model(rng, tiny_shape(), {kColumns}, 1.0);
    model.delta = 0.25f;
    const std::string good = Writer::bytes(model);
    MemoryFile file;
    file.set(good);
    run_briefly(Vocoder(file.path(), "scalar"));
    for (const char* value : {"-0.001", "1.001", "1e300", "\"0.1\"", "null", "[0.1]"}) {
        std::string bad = good;
        set(bad, {"delta"}, value);
        check_refused(bad, "'delta' must be a number from");
    }
    for (const Tiling& tiling : tilings()) {
        Model other = random_model(rng, tiny_shape(), {tiling}, 1.0);
        other.delta = 0.25f;
        if (tiling.layout == Layout::row_group || tiling.layout == Layout::kept_rows || tiling.number != Number::f32) {
            if (runs_model(find_isa("scalar"), other))
                check_refused(Writer::bytes(other), "gru.w_hh: a delta threshold needs");
        }
    }
}

TEST(every_index) {
    for (const Tiling& tiling : tilings()) {
        const Model model = random_model(rng, tiny_shape(), {tiling}, 1.0);
        const std::string good = Writer::bytes(model);
        for (const auto& [name, packed] : model.packed) {
            for (std::size_t i = 0; i < packed.index.size(); ++i) {
                std::string bad = good;
                const bool by_row = tiling.layout == Layout::kept_rows;
                put(bad, number(good, {name, "index", "offset"}) + 2 * i,
                    static_cast<std::uint16_t>(by_row ? packed.rows : packed.cols));
                sign(bad);
                check_refused(bad, by_row ? "row index" : "column index");
            }
            for (std::size_t i = 0; i < packed.counts.size(); ++i) {
                for (const std::uint32_t count :
                     {std::max(packed.rows, packed.cols) + 1, 0xffffffffu, packed.counts[i] - 1}) {
                    std::string bad = good;
                    put(bad, number(good, {name, "counts", "offset"}) + 4 * i, count);
                    sign(bad);
                    check_refused(bad, name + ": ");
                }
            }
        }
    }
}

TEST(contents) {
    const std::string strips = good_file(rng, kStrips), rows = good_file(rng, kRows);
    for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        std::string bad = strips;
        set_blob(bad, "gru.w_hh", "weights", value);
        check_refused(bad, "gru.w_hh: holds NaN");
        bad = strips;
        put(bad, number(bad, {"embed\",\"offset"}), value);
        sign(bad);
        check_refused(bad, "embed: holds NaN");
    }
    for (const float value : {0.0f, -1.0f, 1e-45f}) {
        std::string bad = strips;
        put(bad, number(bad, {"mel_std", "offset"}), value);
        sign(bad);
        check_refused(bad, "mel_std");
    }
    std::string bad = strips; // strips of 4 rows keep columns 0 to 5
    set_blob(bad, "gru.w_hh", "index", std::uint16_t{1});
    check_refused(bad, "do not increase");
    bad = rows; // tiles of 4 columns start at 0 and 4
    set_blob(bad, "gru.w_hh", "index", std::uint16_t{1});
    check_refused(bad, "not the start of a tile");
    bad = good_file(rng, {Layout::kept_rows, Number::f32, 1, 1}); // all rows
    set_blob(bad, "gru.w_hh", "index", std::uint16_t{1});
    check_refused(bad, "row indices do not increase");
}

// What fills up chunks, tiles, strips and panels must be zero: kernels multiply it with whatever lies there.
TEST(padding) {
    constexpr std::size_t kRows = 21, kCols = 7; // in 3 gates that fit no tile but 1 x 1
    for (const Tiling& tiling : tilings()) {
        Packed packed = pack(random_plain(rng, tiling, kRows, kCols, 3, 1.0), 3);
        std::size_t refused = 0;
        for (std::size_t i = 0; i < packed.n_weights; ++i) {
            unsigned char& byte = packed.weights[(i + 1) * number_bytes(tiling.number) - 1];
            byte ^= 1;
            try {
                packed.matrix();
            } catch (const Error& error) {
                refused += std::string(error.what()).find("matrix: holds weights outside") == 0;
            }
            byte ^= 1;
        }
        CHECK(refused == packed.n_weights - kRows * kCols, tiling.name());
    }
}

TEST(number_formats) {
    const std::string bf16 = good_file(rng, kBf16), int8 = good_file(rng, kInt8);
    for (const std::uint16_t value : {0x7f80, 0xff80, 0x7fc0, 0xffff}) { // infinite or NaN
        std::string bad = bf16;
        set_blob(bad, "gru.w_hh", "weights", value);
        check_refused(bad, "gru.w_hh: holds NaN");
    }
    for (const float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
        std::string bad = int8;
        set_blob(bad, "gru.w_hh", "scales", value);
        check_refused(bad, "gru.w_hh: holds NaN");
    }
    const std::size_t weights = number(int8, {"gru.w_hh", "weights", "size"});
    for (const std::size_t at : {std::size_t{0}, pick(rng, 0, weights - 1), weights - 1}) {
        std::string bad = int8;
        put(bad, number(int8, {"gru.w_hh", "weights", "offset"}) + at, std::int8_t{-128});
        sign(bad);
        check_refused(bad, "gru.w_hh: an int8 weight is -128");
    }
    for (const char* size : {"0", "17", "19"}) { // instead of one scale per row
        std::string bad = int8;
        set(bad, {"gru.w_hh", "scales", "size"}, size);
        check_refused(bad, "gru.w_hh: wrong number of scales");
    }
    std::string bad = bf16;
    set(bad, {"gru.w_hh", "scales", "size"}, "18");
    check_refused(bad, "gru.w_hh: wrong number of scales");
    bad = bf16; // columns share chunks by pairs: one column less would be whole chunks still
    set(bad, {"gru.w_hh", "weights", "size"}, std::to_string(number(bf16, {"gru.w_hh", "weights", "size"}) - 16));
    check_refused(bad, "gru.w_hh: number of weights");
}

// A model that is whole, on an ISA without its kernels.
TEST(missing_kernels) {
    for (const Isa& isa : host_isas()) {
        for (const Tiling& tiling : tilings()) {
            const Model model = random_model(rng, tiny_shape(), {tiling}, 1.0);
            MemoryFile file;
            file.set(Writer::bytes(model));
            std::string message;
            try {
                run_briefly(Vocoder(file.path(), isa.name));
            } catch (const Error& error) {
                message = error.what();
            }
            CHECK(message.empty() == runs_model(isa, model), message);
            CHECK(message.empty() || (message.find("gru.w_cond: ") != std::string::npos &&
                                      message.find(std::string("no kernel on ") + isa.name) != std::string::npos),
                  message);
        }
    }
}

// An empty sparse matrix may be large and take no bytes of the file; what it unfolds to is bounded.
TEST(unfolded_size) {
    std::string bad = good_file(rng, kStrips);
    set(bad, {"hidden"}, "16384");
    set(bad, {"embed"}, "1024");
    set(bad, {"bands"}, "8");
    check_refused(bad, "bytes of memory");
}

// With the checksum made right, any content is refused or runs. Few changes of a tile's padding are accepted (32x1: one
// in nine), so rounds go on until one ran.
TEST(random_damage) {
    for (const Tiling& tiling : tilings()) {
        const std::string good = good_file(rng, tiling);
        MemoryFile file;
        int ran = 0;
        for (int round = 0; round < 100 || (ran == 0 && round < 1000); ++round) {
            std::string bad = good;
            for (std::size_t i = pick(rng, 1, 6); i > 0; --i)
                bad[pick(rng, kPrefixBytes, bad.size() - 1)] = static_cast<char>(pick(rng, 0, 255));
            sign(bad);
            file.set(bad);
            try {
                run_briefly(Vocoder(file.path(), host_isas().back().name));
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
