// Random vocoders, and the bytes of their packed file, written from the format's description in lwm.hpp.
#pragma once

#include "lwm.hpp"
#include "plain.hpp"
#include "vocoder.hpp"

#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lanewise::test {

struct Model {
    VocoderShape shape;
    std::map<std::string, std::vector<float>> vectors;
    std::map<std::string, Plain> plain;
    std::map<std::string, Packed> packed;
    std::optional<float> delta = {}; // threshold of gru.w_hh's product
};

constexpr Tiling kColumns{Layout::compact, Number::f32, 1, 1};

inline VocoderShape tiny_shape() {
    VocoderShape s{};
    s.bands = 2, s.hidden = 6, s.embed = 2, s.cond = 5, s.head = 7, s.mixtures = 2, s.mels = 3;
    s.steps_per_frame = 5, s.conv1_taps = 5, s.conv2_taps = 3, s.conv1_left = 2, s.conv2_left = 1;
    s.pqmf_taps = 8;
    return s;
}

// The matrices of the GRU and the heads in the given tilings, used in turn; the convolutions dense unless `all_sparse`.
inline Model random_model(Rng& rng, const VocoderShape& s, const std::vector<Tiling>& used, double kept,
                          bool all_sparse = false) {
    const auto spread = [](std::size_t inputs) { return 1.0 / std::sqrt(static_cast<double>(inputs)); };
    const std::size_t gates = 3 * s.hidden, parameters = s.bands * 3 * s.mixtures;
    Model model{s, {}, {}, {}, {}};
    auto& v = model.vectors;
    v["mel_mean"] = normal(rng, s.mels);
    v["mel_std"] = normal(rng, s.mels);
    for (float& value : v["mel_std"])
        value = 0.5f + std::abs(value);
    v["band_scale"] = std::vector<float>(s.bands, 0.2f);
    v["embed"] = normal(rng, s.bands * kLevels * s.embed, spread(s.embed));
    v["cond.conv1.bias"] = normal(rng, s.cond, 0.2);
    v["cond.conv2.bias"] = normal(rng, s.cond, 0.2);
    v["gru.b_ih"] = normal(rng, gates, 0.2);
    v["gru.b_hh"] = normal(rng, gates, 0.2);
    v["head.fc.bias"] = normal(rng, s.head, 0.2);
    v["head.out.bias"] = normal(rng, parameters, 0.3);
    for (std::size_t b = 0; b < s.bands; ++b) { // narrow logistics, as after training
        for (std::size_t j = 0; j < s.mixtures; ++j)
            v["head.out.bias"][(b * 3 + 2) * s.mixtures + j] -= 4.0f;
    }
    v["pqmf.synthesis"] = normal(rng, s.bands * s.pqmf_taps, 0.2);

    const auto add = [&](const std::string& name, std::size_t rows, std::size_t cols, std::size_t parts, bool sparse) {
        const Tiling& tiling = sparse ? used[model.plain.size() % used.size()] : kDense;
        const std::size_t split = tiling.layout == Layout::dense ? 1 : parts;
        model.plain[name] = random_plain(rng, tiling, rows, cols, split, kept, spread(cols));
        model.packed[name] = pack(model.plain[name], split);
    };
    add("cond.conv1.weight", s.cond, s.conv1_taps * s.mels, 1, all_sparse);
    add("cond.conv2.weight", s.cond, s.conv2_taps * s.cond, 1, all_sparse);
    add("gru.w_cond", gates, s.cond, 3, true);
    add("gru.w_hh", gates, s.hidden, 3, true);
    add("gru.w_embed", gates, s.bands * s.embed, 3, true);
    add("head.fc.weight", s.head, s.hidden, 1, true);
    add("head.out.weight", parameters, s.head, 1, true);
    return model;
}

// Whether an ISA has all kernels that a model needs.
template <typename AnyModel> bool runs_model(const Isa& isa, const AnyModel& model) {
    return std::all_of(model.packed.begin(), model.packed.end(), [&](const auto& named) {
        return named.first == "gru.w_embed" || find_kernel(*isa.kernels, named.second.shape()) != nullptr;
    });
}

template <typename T> void put(std::string& file, std::size_t at, T value) {
    std::memcpy(file.data() + at, &value, sizeof value);
}

// Makes size and checksum right.
inline void sign(std::string& file) {
    put<std::uint64_t>(file, 16, file.size());
    put(file, 24, checksum(reinterpret_cast<const unsigned char*>(file.data()), file.size()));
}

// What a model's header says before its vectors and matrices.
inline std::string head(const Model& model) {
    const VocoderShape& s = model.shape;
    const std::pair<const char*, std::size_t> dims[] = {{"bands", s.bands},
                                                        {"hidden", s.hidden},
                                                        {"embed", s.embed},
                                                        {"cond", s.cond},
                                                        {"head", s.head},
                                                        {"mixtures", s.mixtures},
                                                        {"mels", s.mels},
                                                        {"conv1_taps", s.conv1_taps},
                                                        {"conv2_taps", s.conv2_taps},
                                                        {"conv1_left", s.conv1_left},
                                                        {"conv2_left", s.conv2_left},
                                                        {"steps_per_frame", s.steps_per_frame},
                                                        {"pqmf_taps", s.pqmf_taps},
                                                        {"sample_rate_hz", 16000},
                                                        {"table_bytes", s.table_floats() * sizeof(float)}};
    std::string text = R"({"arch":{"causal":false,"rate":16e3},"dims":{)";
    for (const auto& [name, size] : dims)
        text += '"' + std::string(name) + "\":" + std::to_string(size) + ',';
    text.back() = '}';
    if (model.delta)
        text += R"(,"delta":)" + std::to_string(*model.delta);
    return text + R"(,"tables":"f32")";
}

// Writes a model of any kind that has a head(), vectors and packed matrices.
class Writer {
public:
    template <typename AnyModel> static std::string bytes(const AnyModel& model) {
        // Offsets stand in the header, whose length they change: leave room for it, and some for tests that edit it.
        Writer writer(round_up(kPrefixBytes + Writer(kLongest).header(model).size() + 100, kAlignment));
        const std::string text = writer.header(model);
        std::string file(writer.begin_, ' ');
        std::memcpy(file.data(), kMagic, 8);
        put(file, 8, kVersion);
        put(file, 12, static_cast<std::uint32_t>(writer.begin_ - kPrefixBytes));
        file.replace(kPrefixBytes, text.size(), text);
        file += writer.body_;
        sign(file);
        return file;
    }

private:
    static constexpr std::size_t kLongest = 1000000000; // an offset with more digits than any that occurs

    explicit Writer(std::size_t begin) : begin_(begin) {}

    template <typename T> std::string place(const std::vector<T>& values) { return place(values, values.size()); }
    // Values of `size` elements.
    template <typename T> std::string place(const std::vector<T>& values, std::size_t size) {
        const std::string where =
            R"("offset":)" + std::to_string(begin_ + body_.size()) + R"(,"size":)" + std::to_string(size);
        body_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
        body_.resize(round_up(body_.size(), kAlignment));
        return where;
    }

    template <typename AnyModel> std::string header(const AnyModel& model) {
        std::string text = head(model) + R"(,"vectors":[)";
        for (const auto& [name, values] : model.vectors)
            text += R"({"name":")" + name + R"(",)" + place(values) + "},";
        text.back() = ']';
        text += R"(,"matrices":[)";
        for (const auto& [name, m] : model.packed) {
            text += R"({"name":")" + name + R"(","layout":")" + m.tiling.layout_name() + R"(","number":")" +
                    number_name(m.tiling.number) + R"(","tile_rows":)" + std::to_string(m.tiling.tile_rows) +
                    R"(,"tile_cols":)" + std::to_string(m.tiling.tile_cols) + R"(,"rows":)" + std::to_string(m.rows) +
                    R"(,"cols":)" + std::to_string(m.cols) + R"(,"gates":)" + std::to_string(m.gates) +
                    R"(,"weights":{)" + place(m.weights, m.n_weights) + R"(},"index":{)" + place(m.index) +
                    R"(},"counts":{)" + place(m.counts) + R"(},"scales":{)" + place(m.scales) + "}},";
        }
        text.back() = ']';
        return text + "}";
    }

    std::size_t begin_; // of the blobs
    std::string body_;
};

} // namespace lanewise::test
