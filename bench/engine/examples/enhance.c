/* Cleaner speech from noisy speech, hop by hop as it would come live: ./enhance MODEL.lwm < noisy.f32 > clean.f32
 * (mono float samples of the model's rate; the last, incomplete hop is filled up with silence). */
#include <stdio.h>
#include <stdlib.h>

#include <lanewise.h>

static int failed(const char* what) {
    fprintf(stderr, "%s\n", what);
    return 1;
}

int main(int argc, char** argv) {
    if (argc != 2)
        return failed("usage: enhance MODEL.lwm < noisy.f32 > clean.f32");
    lanewise_enhancer* enhancer = lanewise_enhancer_open(argv[1], NULL);
    lanewise_enhancer_stream* stream = enhancer ? lanewise_enhancer_stream_new(enhancer) : NULL;
    if (!stream)
        return failed(lanewise_error());
    const size_t hop = lanewise_enhancer_get_dims(enhancer).hop;
    float* samples = calloc(hop, sizeof *samples);
    if (!samples)
        return failed("no memory");
    size_t taken = hop;
    while (taken == hop && (taken = fread(samples, sizeof *samples, hop, stdin)) > 0) {
        for (size_t i = taken; i < hop; ++i)
            samples[i] = 0.0f;
        if (lanewise_enhancer_push(stream, samples, samples) != 0)
            return failed(lanewise_error());
        if (fwrite(samples, sizeof *samples, hop, stdout) != hop)
            return failed("standard output cannot be written");
    }
    free(samples);
    lanewise_enhancer_stream_free(stream);
    lanewise_enhancer_close(enhancer);
    return 0;
}
