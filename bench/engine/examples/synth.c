/* Speech from mel frames, in plain C:  synth MODEL.lwm MEL.f32 AUDIO.f32
 * MEL.f32 holds float32 (frames, mels), AUDIO.f32 gets float32 samples.
 * Build against the installed library:
 *   cc -std=c99 synth.c $(pkg-config --cflags --libs lanewise) -o synth
 */
#include <lanewise.h>
#include <stdio.h>
#include <stdlib.h>

static int failed(const char* what) {
    fprintf(stderr, "%s\n", what);
    return 1;
}

int main(int argc, char** argv) {
    if (argc != 4)
        return failed("usage: synth MODEL.lwm MEL.f32 AUDIO.f32");

    lanewise_vocoder* vocoder = lanewise_open(argv[1], NULL); /* the best instruction set of this host */
    if (!vocoder)
        return failed(lanewise_error());
    const lanewise_dims dims = lanewise_get_dims(vocoder);
    lanewise_stream* stream = lanewise_stream_new(vocoder, 0, 0, 1.0);
    if (!stream)
        return failed(lanewise_error());

    FILE* in = fopen(argv[2], "rb");
    FILE* out = fopen(argv[3], "wb");
    float* mel = malloc(dims.mels * sizeof *mel);
    float* audio = malloc(dims.hop * sizeof *audio);
    if (!in || !out || !mel || !audio)
        return failed("cannot open the files");

    /* Frame by frame, as they would come from a live source. */
    int more = 1;
    size_t frames = 0;
    while (more) {
        more = fread(mel, sizeof *mel, dims.mels, in) == dims.mels;
        if (!more)
            lanewise_finish(stream); /* what was held back for its look-ahead comes now */
        else if (lanewise_push(stream, mel, 1) < 0)
            return failed(lanewise_error());
        while (lanewise_pull(stream, audio, 1) == 1) {
            frames++;
            if (fwrite(audio, sizeof *audio, dims.hop, out) != dims.hop)
                return failed("cannot write the audio");
        }
    }
    if (fclose(out) != 0)
        return failed("cannot write the audio");
    fprintf(stderr, "%.2f s of speech (%s)\n", (double)(frames * dims.hop) / (double)dims.sample_rate_hz,
            lanewise_isa(vocoder));

    fclose(in);
    free(mel);
    free(audio);
    lanewise_stream_free(stream);
    lanewise_close(vocoder);
    return 0;
}
