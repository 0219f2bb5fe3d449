// Fuzzing target (libFuzzer): any bytes as a packed model. Magic, version, size and checksum are made right first, so
// that mutations reach what lies behind them; a model that loads is then run for a few frames.
#include "enhancer_stream.hpp"
#include "error.hpp"
#include "memory_file.hpp"
#include "model.hpp"
#include "stream.hpp"

#include <algorithm>
#include <cstdint>

using namespace lanewise;
using namespace lanewise::test;

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

// Most numbers a model may compute with: larger ones are valid but tell nothing new in much more time.
constexpr std::size_t kMaxWork = 1 << 18;

void run_briefly(const Vocoder& vocoder) {
    const VocoderShape& s = vocoder.shape();
    constexpr std::size_t kFrames = 2;
    if (s.samples_per_frame() * (s.hidden * s.hidden + s.head * s.hidden + s.bands * s.pqmf_taps) > 64 * kMaxWork)
        return;
    std::vector<float> mel(kFrames * s.mels);
    for (std::size_t i = 0; i < mel.size(); ++i)
        mel[i] = static_cast<float>(i % 7) - 3.0f;
    std::vector<float> audio(kFrames * s.samples_per_frame());
    std::vector<std::uint8_t> levels(kFrames * s.steps_per_frame * s.bands);
    run(vocoder, {1, 2, 1.0}, mel.data(), kFrames, {audio.data(), levels.data(), nullptr});
}

void run_briefly(const Enhancer& enhancer) {
    const EnhancerShape& s = enhancer.shape();
    std::size_t work = 0, width = s.mels;
    for (std::size_t layer = 0; layer < s.layers; width = s.hidden[layer++])
        work += s.gates() * s.hidden[layer] * (width + s.hidden[layer]);
    if (work + s.fc * (width + s.mels) > 64 * kMaxWork)
        return;
    std::vector<float> audio(3 * s.hop);
    for (std::size_t i = 0; i < audio.size(); ++i)
        audio[i] = static_cast<float>(i % 7) - 3.0f;
    EnhancerStream stream(enhancer);
    for (std::size_t begin = 0; begin < audio.size(); begin += s.hop)
        stream.push(audio.data() + begin, audio.data() + begin);
}

// Whether folding the embeddings, the one slow part of loading, is quick.
bool loads_fast(const std::string& path) {
    const PackedFile file(path);
    const Json& dims = file.header().at("dims");
    return dims.whole("hidden", 1, kMaxWork) * dims.whole("bands", 1, kMaxBands) * dims.whole("embed", 1, kMaxWork) <=
           kMaxWork / 256;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static MemoryFile file;
    static int turn = 0;
    std::string bytes(reinterpret_cast<const char*>(data), size);
    if (size < kPrefixBytes)
        return 0;
    std::memcpy(bytes.data(), kMagic, 8);
    put(bytes, 8, kVersion);
    sign(bytes);
    file.set(bytes);
    const std::vector<Isa>& isas = host_isas();
    const std::string isa = isas[static_cast<std::size_t>(turn++) % isas.size()].name;
    try {
        if (PackedFile(file.path()).task() == "enhancer")
            run_briefly(Enhancer(file.path(), isa));
        else if (loads_fast(file.path()))
            run_briefly(Vocoder(file.path(), isa));
    } catch (const Error& error) {
        if (std::string(error.what()).find('\n') != std::string::npos)
            std::abort(); // one message is one line
    }
    return 0;
}

// Half of the time mutates the header's text in the room it has, so that the blobs stay where it says, else the blobs.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
    std::uint32_t header_bytes = 0;
    if (size > kPrefixBytes)
        std::memcpy(&header_bytes, data + 12, sizeof header_bytes);
    const std::size_t body = kPrefixBytes + header_bytes;
    if (header_bytes == 0 || body >= size || seed % 16 == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    if (seed % 2)
        return body + LLVMFuzzerMutate(data + body, size - body, std::max(size, max_size) - body);
    std::uint8_t* header = data + kPrefixBytes;
    std::size_t text = header_bytes;
    while (text > 1 && header[text - 1] == ' ')
        --text;
    text = LLVMFuzzerMutate(header, text, header_bytes);
    std::fill(header + text, header + header_bytes, ' ');
    return size;
}
