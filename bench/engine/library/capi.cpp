// The C interface: exceptions end here.
#include "lanewise.h"

#include "features.hpp"
#include "guard.hpp"
#include "stream.hpp"

#include <algorithm>
#include <string>

struct lanewise_vocoder {
    lanewise::Vocoder vocoder;
};

struct lanewise_stream {
    const lanewise::VocoderShape& shape;
    lanewise::Stream stream;
    bool finished = false;
};

namespace {

using lanewise::chosen_isa;
using lanewise::Error;
using lanewise::guarded;
using lanewise::LogMel;
using lanewise::require_finite;
using lanewise::require_given;

const LogMel& log_mel() {
    static const LogMel features;
    return features;
}

} // namespace

const char* lanewise_version(void) {
    return LANEWISE_VERSION;
}

const char* lanewise_error(void) {
    return lanewise::last_error().c_str();
}

const char* lanewise_isas(void) {
    static const std::string names = [] {
        std::string all;
        for (const lanewise::Isa& isa : lanewise::host_isas())
            all += all.empty() ? isa.name : std::string(" ") + isa.name;
        return all;
    }();
    return names.c_str();
}

lanewise_vocoder* lanewise_open(const char* path, const char* isa) {
    return guarded<lanewise_vocoder*>(nullptr, [&] {
        require_given(path, "path");
        return new lanewise_vocoder{{path, chosen_isa(isa)}};
    });
}

void lanewise_close(lanewise_vocoder* vocoder) {
    delete vocoder;
}

lanewise_dims lanewise_get_dims(const lanewise_vocoder* vocoder) {
    const lanewise::VocoderShape& s = vocoder->vocoder.shape();
    return {s.mels, s.samples_per_frame(), vocoder->vocoder.sample_rate_hz(), s.lookahead(),
            vocoder->vocoder.table_bytes()};
}

const char* lanewise_isa(const lanewise_vocoder* vocoder) {
    return vocoder->vocoder.isa();
}

lanewise_stream* lanewise_stream_new(const lanewise_vocoder* vocoder, uint64_t seed, uint64_t utterance,
                                     double temperature) {
    return guarded<lanewise_stream*>(nullptr, [&] {
        require_given(vocoder, "vocoder");
        if (!(temperature >= 0.01 && temperature <= 100.0))
            throw Error("temperature is " + std::to_string(temperature) + ", expected 0.01 to 100");
        return new lanewise_stream{vocoder->vocoder.shape(), {vocoder->vocoder, {seed, utterance, temperature}}};
    });
}

void lanewise_stream_free(lanewise_stream* stream) {
    delete stream;
}

ptrdiff_t lanewise_push(lanewise_stream* stream, const float* mel, size_t frames) {
    return guarded<ptrdiff_t>(-1, [&] {
        require_given(stream, "stream");
        require_given(mel || frames == 0, "mel");
        if (stream->finished && frames > 0)
            throw Error("this stream has been finished; start another for the next utterance");
        const std::size_t taken = std::min(frames, stream->stream.room());
        require_finite(mel, taken * stream->shape.mels, "mel");
        return static_cast<ptrdiff_t>(stream->stream.push(mel, taken));
    });
}

void lanewise_finish(lanewise_stream* stream) {
    stream->finished = true;
    stream->stream.finish();
}

size_t lanewise_pull(lanewise_stream* stream, float* audio, size_t frames) {
    return stream->stream.pull({audio, nullptr, nullptr}, frames);
}

ptrdiff_t lanewise_mel_frames(size_t samples) {
    return guarded<ptrdiff_t>(-1, [&] {
        if (LogMel::frames(samples) == 0) {
            throw Error("log-mel features need at least " +
                        std::to_string((LogMel::kPad / LogMel::kHop + 1) * LogMel::kHop) + " samples, got " +
                        std::to_string(samples));
        }
        return static_cast<ptrdiff_t>(LogMel::frames(samples));
    });
}

ptrdiff_t lanewise_log_mel(const float* audio, size_t samples, size_t first, size_t frames, float* mel) {
    const ptrdiff_t all = lanewise_mel_frames(samples);
    if (all < 0)
        return -1;
    return guarded<ptrdiff_t>(-1, [&] {
        const auto count = static_cast<std::size_t>(all);
        require_given(audio, "audio");
        require_given(mel || frames == 0, "mel");
        if (first > count || frames > count - first)
            throw Error("these samples give " + std::to_string(count) + " frames only");
        // Only what these frames reach: a caller that takes few at a time must not pay for the whole each time.
        const std::size_t begin = first * LogMel::kHop, end = begin + frames * LogMel::kHop + LogMel::kPad;
        const std::size_t from = begin - std::min(begin, LogMel::kPad), to = std::min(end, count * LogMel::kHop);
        if (frames > 0)
            require_finite(audio + from, to - from, "audio");
        for (std::size_t i = 0; i < frames; ++i)
            log_mel().frame(first + i, count, [audio](std::size_t k) { return audio[k]; }, mel + i * LogMel::kMels);
        return static_cast<ptrdiff_t>(frames);
    });
}
