/* Lanewise: speech from log-mel frames by a packed vocoder (*.lwm), and cleaner speech from noisy speech by a packed
 * enhancer (at the end of this file), on one CPU core.
 *
 *   lanewise_vocoder* vocoder = lanewise_open("model.lwm", NULL);
 *   lanewise_stream* stream = lanewise_stream_new(vocoder, 0, 0, 1.0);
 *   taken = lanewise_push(stream, mel, frames);   until all frames are taken, after the last lanewise_finish(stream)
 *   made = lanewise_pull(stream, audio, frames);  after each push
 *
 * Functions that can fail return NULL or -1; lanewise_error() then says why, in one line. They refuse NULL; the others
 * need what was made, but closing or freeing NULL does nothing. All memory is taken by lanewise_open and
 * lanewise_stream_new. A vocoder may be shared by threads, a stream belongs to one at a time.
 */
#ifndef LANEWISE_H
#define LANEWISE_H

#include <stddef.h>
#include <stdint.h>

#define LANEWISE_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lanewise_vocoder lanewise_vocoder;
typedef struct lanewise_stream lanewise_stream;

typedef struct {
    size_t mels;           /* numbers in a frame */
    size_t hop;            /* samples that a frame gives */
    size_t sample_rate_hz; /* of the audio */
    size_t lookahead;      /* frames that must follow a frame before its audio can be pulled */
    size_t table_bytes;    /* memory of the embedding tables, which the file does not hold */
} lanewise_dims;

/* Version of the library, such as "0.1.0". */
LANEWISE_API const char* lanewise_version(void);

/* Why the last call on this thread failed. */
LANEWISE_API const char* lanewise_error(void);

/* Instruction sets that this host can run, best last, separated by spaces. */
LANEWISE_API const char* lanewise_isas(void);

/* Loads and verifies a packed model. The file is mapped while this call runs, not after; to replace one that others may
 * be loading, rename a new file over it: truncating it in place would end them with SIGBUS. isa: one of
 * lanewise_isas(); NULL or "auto" takes LANEWISE_ISA from the environment, else the best. */
LANEWISE_API lanewise_vocoder* lanewise_open(const char* path, const char* isa);
LANEWISE_API void lanewise_close(lanewise_vocoder* vocoder);
LANEWISE_API lanewise_dims lanewise_get_dims(const lanewise_vocoder* vocoder);
/* The instruction set in use. */
LANEWISE_API const char* lanewise_isa(const lanewise_vocoder* vocoder);

/* Starts an utterance; the vocoder must outlive it. seed, utterance: key and counter of the random numbers; the same
 * give the same audio. temperature: 0.01 to 100, 1 samples what the model learnt, below is calmer. */
LANEWISE_API lanewise_stream* lanewise_stream_new(const lanewise_vocoder* vocoder, uint64_t seed, uint64_t utterance,
                                                  double temperature);
LANEWISE_API void lanewise_stream_free(lanewise_stream* stream);

/* Takes frames (frames, mels) of log-mel features while there is room, at least one when none can be pulled; returns
 * how many, or -1 if a number is not finite or the stream has been finished. */
LANEWISE_API ptrdiff_t lanewise_push(lanewise_stream* stream, const float* mel, size_t frames);
/* No frame follows: the last ones can be pulled. */
LANEWISE_API void lanewise_finish(lanewise_stream* stream);
/* Makes up to `frames` frames of audio (frames * hop samples, full scale 1); returns how many: 0 when it needs more. */
LANEWISE_API size_t lanewise_pull(lanewise_stream* stream, float* audio, size_t frames);

/* Log-mel features that the shipped models expect (80 mels, hop 160, 16 kHz): frames that `samples` samples give, or -1
 * if they are too few. */
LANEWISE_API ptrdiff_t lanewise_mel_frames(size_t samples);
/* Writes frames first .. first + frames - 1 to mel (frames, 80); returns frames, or -1. The whole recording is passed
 * each time, because its ends are reflected. */
LANEWISE_API ptrdiff_t lanewise_log_mel(const float* audio, size_t samples, size_t first, size_t frames, float* mel);

/* Enhancers.
 *
 *   lanewise_enhancer* enhancer = lanewise_enhancer_open("enhancer.lwm", NULL);
 *   lanewise_enhancer_stream* stream = lanewise_enhancer_stream_new(enhancer);
 *   lanewise_enhancer_push(stream, in, out);      for each hop
 */
typedef struct lanewise_enhancer lanewise_enhancer;
typedef struct lanewise_enhancer_stream lanewise_enhancer_stream;

typedef struct {
    size_t hop;            /* samples taken and given at a time */
    size_t sample_rate_hz; /* of the audio */
    size_t delay;          /* samples by which what is given lags behind what is taken; a whole number of hops */
} lanewise_enhancer_dims;

/* As lanewise_open and the others of vocoders. */
LANEWISE_API lanewise_enhancer* lanewise_enhancer_open(const char* path, const char* isa);
LANEWISE_API void lanewise_enhancer_close(lanewise_enhancer* enhancer);
LANEWISE_API lanewise_enhancer_dims lanewise_enhancer_get_dims(const lanewise_enhancer* enhancer);
LANEWISE_API const char* lanewise_enhancer_isa(const lanewise_enhancer* enhancer);

/* Starts a signal; the enhancer must outlive it. */
LANEWISE_API lanewise_enhancer_stream* lanewise_enhancer_stream_new(const lanewise_enhancer* enhancer);
LANEWISE_API void lanewise_enhancer_stream_free(lanewise_enhancer_stream* stream);

/* Takes hop samples, gives hop samples (in and out may be the same); 0, or -1 if a sample is not finite. */
LANEWISE_API int lanewise_enhancer_push(lanewise_enhancer_stream* stream, const float* in, float* out);

#ifdef __cplusplus
}
#endif

#endif
