// Writes one tiny packed model per layout, from which the fuzzer starts: write_seeds FOLDER.
#include "model.hpp"

#include <cstdio>
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
    s.embed = 1, s.hidden = 5;
    for (const Tiling& tiling : kTilings) {
        const std::string bytes = Writer::bytes(random_model(rng, s, tiling, 0.6, true));
        const std::string name = std::string(tiling.name_) + "-" + std::to_string(tiling.group) + ".lwm";
        std::ofstream stream(std::filesystem::path(argv[1]) / name, std::ios::binary);
        stream << bytes;
        if (!stream.flush()) {
            std::fprintf(stderr, "%s: cannot write %s\n", argv[1], name.c_str());
            return 1;
        }
    }
}
