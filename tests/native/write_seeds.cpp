// Writes a few tiny packed models with a matrix of every tile in them, from which the fuzzer starts: write_seeds
// FOLDER.
#include "enhancer_model.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace lanewise;
using namespace lanewise::test;

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: write_seeds FOLDER\n");
        return 2;
    }
    Rng rng(1); // always the same bytes: they are kept in the repository
    VocoderShape s = tiny_shape();
    s.embed = 1, s.hidden = 5, s.cond = 3, s.mels = 2, s.head = 4, s.mixtures = 1;
    constexpr std::size_t kMatrices = 7; // of a model, each of another tile
    const auto write = [&](const std::string& name, const auto& model) {
        std::ofstream stream(std::filesystem::path(argv[1]) / name, std::ios::binary);
        stream << Writer::bytes(model);
        if (!stream.flush()) {
            std::fprintf(stderr, "%s: cannot write %s\n", argv[1], name.c_str());
            std::exit(1);
        }
    };
    for (const Number number : {Number::f32, Number::bf16, Number::int8}) {
        std::vector<Tiling> all;
        std::copy_if(tilings().begin(), tilings().end(), std::back_inserter(all),
                     [&](const Tiling& tiling) { return tiling.number == number; });
        for (std::size_t at = 0; at < all.size(); at += kMatrices) {
            const auto begin = all.begin() + static_cast<std::ptrdiff_t>(at);
            const std::vector<Tiling> used(
                begin, all.begin() + static_cast<std::ptrdiff_t>(std::min(at + kMatrices, all.size())));
            const std::string name = std::string(number_name(number)) + "-" + std::to_string(at / kMatrices) + ".lwm";
            write(name, random_model(rng, s, used, 0.6, true));
        }
    }
    Model delta = random_model(rng, s, {kDense, kColumns}, 0.6);
    delta.delta = 0.1f;
    write("delta-0.lwm", delta);

    EnhancerShape lstm = tiny_enhancer(), gru = tiny_enhancer();
    lstm.mask_bits = 16, gru.gru = true;
    const auto seed = [&](const char* name, const EnhancerShape& shape, const std::vector<Tiling>& used) {
        write(name, random_enhancer(rng, shape, used, 0.6));
    };
    seed("enhancer-0.lwm", gru, {kDense, kColumns, {Layout::dot_group, Number::f32, 1, 1}});
    seed("enhancer-1.lwm", lstm, {{Layout::row_group, Number::int8, 16, 4}, {Layout::dense, Number::int8, 1, 1}});
}
