// lanewise-synth: speech from a recording's mel frames, through a packed model; needs nothing but this file's program.
#include "lanewise.h"

#include "clock.hpp"
#include "error.hpp"
#include "features.hpp"
#include "sound_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace {

using lanewise::Error;
using lanewise::LogMel;

constexpr char kUsage[] =
    "usage: lanewise-synth MODEL.lwm IN OUT.wav [--isa NAME] [--seed N] [--temperature T] [--time]\n"
    "\n"
    "Synthesise OUT.wav from IN with the packed MODEL. IN is a recording (.wav: 16 kHz, mono, 16-bit or float), or "
    "log-mel\n"
    "frames as little-endian float32: a .npy array (frames, mels), or the numbers alone (.f32, .mel).\n"
    "\n"
    "  --isa NAME       instruction set to use; default auto: LANEWISE_ISA, else this host's best\n"
    "  --seed N         of sampling, a whole number (default 0)\n"
    "  --temperature T  of sampling, 0.05 to 2 (default 0.9)\n"
    "  --time           say how long it took: the synthesis alone, mel frames to waveform, one plain run\n"
    "  --version, --help\n";

struct UsageError : Error {
    using Error::Error;
};

struct Options {
    std::vector<std::string> files;
    std::string isa = "auto";
    std::uint64_t seed = 0;
    double temperature = 0.9;
    bool time = false;
};

std::uint64_t whole(const std::string& name, const std::string& text) {
    char* end = nullptr;
    errno = 0;
    const unsigned long long value = std::strtoull(text.c_str(), &end, 10);
    if (text.empty() || text.find_first_not_of("0123456789") != text.npos || errno)
        throw UsageError(name + ": got '" + text + "', expected a whole number below 2^64");
    return value;
}

double temperature(const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end || !(value >= 0.05 && value <= 2.0))
        throw UsageError("--temperature: got '" + text + "', expected a number from 0.05 to 2");
    return value;
}

// Throws UsageError, naming where it was asked for, unless this host runs the ISA.
void require_runnable(const std::string& asked) {
    const char* variable = std::getenv("LANEWISE_ISA");
    const bool automatic = asked.empty() || asked == "auto";
    const std::string isa = !automatic ? asked : variable ? variable : "";
    const std::string have = lanewise_isas();
    if (!isa.empty() && isa != "auto" && (" " + have + " ").find(" " + isa + " ") == have.npos) {
        throw UsageError((automatic ? "LANEWISE_ISA" : "--isa") + (": this host cannot run '" + isa) +
                         "'; it runs: " + have + " (or auto)");
    }
}

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        const std::size_t equals = argument.compare(0, 2, "--") ? argument.npos : argument.find('=');
        const std::string name = argument.substr(0, equals);
        const auto value = [&]() -> std::string {
            if (equals != argument.npos)
                return argument.substr(equals + 1);
            if (i + 1 == argc)
                throw UsageError(name + ": needs a value");
            return argv[++i];
        };
        if (name == "--isa")
            options.isa = value();
        else if (name == "--seed")
            options.seed = whole(name, value());
        else if (name == "--temperature")
            options.temperature = temperature(value());
        else if (argument == "--time")
            options.time = true;
        else if (name.size() > 1 && name[0] == '-')
            throw UsageError("unknown option " + argument + "; see lanewise-synth --help");
        else
            options.files.push_back(name);
    }
    if (options.files.size() != 3)
        throw UsageError("expected MODEL.lwm IN OUT.wav; see lanewise-synth --help");
    require_runnable(options.isa);
    return options;
}

// Frames of the input, each made when it is asked for.
struct Input {
    std::size_t frames;
    std::function<void(std::size_t frame, float* mel)> read;
};

Input open_input(const std::string& path, const lanewise_dims& dims) {
    const auto ends = [&path](const std::string& suffix) {
        return path.size() >= suffix.size() && path.compare(path.size() - suffix.size(), suffix.size(), suffix) == 0;
    };
    if (ends(".npy") || ends(".f32") || ends(".mel")) {
        const auto mel = std::make_shared<lanewise::MelReader>(path, dims.mels);
        return {mel->frames(), [mel](std::size_t frame, float* to) { mel->read(frame, to); }};
    }
    if (dims.mels != LogMel::kMels || dims.hop != LogMel::kHop || dims.sample_rate_hz != LogMel::kSampleRateHz)
        throw Error(path + ": this model has features of its own; give it mel frames (.npy, .f32 or .mel)");
    const auto wav = std::make_shared<lanewise::WavReader>(path, dims.sample_rate_hz);
    const auto features = std::make_shared<LogMel>();
    const std::size_t frames = LogMel::frames(wav->size());
    if (frames == 0)
        throw Error(path + ": is " + std::to_string(wav->size()) + " samples long, expected at least 480 (30 ms)");
    return {frames, [=](std::size_t frame, float* to) {
                features->frame(frame, frames, [&wav](std::size_t i) { return (*wav)[i]; }, to);
            }};
}

template <typename T> T* checked(T* made) {
    if (!made)
        throw Error(lanewise_error());
    return made;
}

// One run over the input; returns the greatest magnitude before `gain`, and adds to `seconds` the time of synthesis.
float synthesise(const lanewise_vocoder* vocoder, const Options& options, const Input& input, float gain,
                 lanewise::WavWriter& out, double& seconds) {
    const std::unique_ptr<lanewise_stream, decltype(&lanewise_stream_free)> stream(
        checked(lanewise_stream_new(vocoder, options.seed, 0, options.temperature)), lanewise_stream_free);
    const lanewise_dims dims = lanewise_get_dims(vocoder);
    constexpr std::size_t kFrames = 8;
    std::vector<float> mel(kFrames * dims.mels), audio(kFrames * dims.hop);
    float peak = 0.0f;
    for (std::size_t read = 0, made = 0; made < input.frames;) {
        const std::size_t count = std::min(kFrames, input.frames - read);
        for (std::size_t i = 0; i < count; ++i)
            input.read(read + i, mel.data() + i * dims.mels);
        const double begin = lanewise::now_ns();
        const std::ptrdiff_t taken = lanewise_push(stream.get(), mel.data(), count);
        if (taken < 0)
            throw Error(lanewise_error());
        read += static_cast<std::size_t>(taken);
        if (read == input.frames)
            lanewise_finish(stream.get());
        const std::size_t frames = lanewise_pull(stream.get(), audio.data(), kFrames);
        seconds += (lanewise::now_ns() - begin) * 1e-9;
        made += frames;
        for (std::size_t i = 0; i < frames * dims.hop; ++i) {
            peak = std::max(peak, std::abs(audio[i]));
            audio[i] *= gain;
        }
        out.write(audio.data(), frames * dims.hop);
    }
    return peak;
}

void run(const Options& options) {
    const std::unique_ptr<lanewise_vocoder, decltype(&lanewise_close)> vocoder(
        checked(lanewise_open(options.files[0].c_str(), options.isa.c_str())), lanewise_close);
    const lanewise_dims dims = lanewise_get_dims(vocoder.get());
    const Input input = open_input(options.files[1], dims);
    const std::string& path = options.files[2];
    const std::size_t samples = input.frames * dims.hop;
    lanewise::WavWriter out(path, dims.sample_rate_hz, samples);
    double seconds = 0.0, again = 0.0;
    const float peak = synthesise(vocoder.get(), options, input, 1.0f, out, seconds);
    if (peak > 1.0f) { // 16-bit files end at full scale; scaling the whole keeps the sound, and is said
        std::fprintf(stderr, "%s: peak %.3f is beyond full scale; the whole file was scaled to fit\n", path.c_str(),
                     static_cast<double>(peak));
        out.rewind();
        synthesise(vocoder.get(), options, input, 1.0f / peak, out, again);
    }
    out.close();
    if (options.time) {
        const double duration = static_cast<double>(samples) / static_cast<double>(dims.sample_rate_hz);
        std::fprintf(stderr, "%.2f s of speech in %.4f s, RTF %.5f (%s)\n", duration, seconds, seconds / duration,
                     lanewise_isa(vocoder.get()));
    }
}

} // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        if (!std::strcmp(argv[i], "--help") || !std::strcmp(argv[i], "-h"))
            return std::fputs(kUsage, stdout) < 0;
        if (!std::strcmp(argv[i], "--version"))
            return std::printf("lanewise-synth %s\n", lanewise_version()) < 0;
    }
    try {
        run(parse(argc, argv));
        return 0;
    } catch (const UsageError& error) {
        std::fprintf(stderr, "lanewise-synth: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "lanewise-synth: %s\n", error.what());
        return 1;
    }
}
