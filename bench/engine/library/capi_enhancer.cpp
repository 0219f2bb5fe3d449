// The C interface of enhancers.
#include "enhancer_stream.hpp"
#include "guard.hpp"
#include "lanewise.h"

struct lanewise_enhancer {
    lanewise::Enhancer enhancer;
};

struct lanewise_enhancer_stream {
    std::size_t hop;
    lanewise::EnhancerStream stream;
};

lanewise_enhancer* lanewise_enhancer_open(const char* path, const char* isa) {
    return lanewise::guarded<lanewise_enhancer*>(nullptr, [&] {
        lanewise::require_given(path, "path");
        return new lanewise_enhancer{{path, lanewise::chosen_isa(isa)}};
    });
}

void lanewise_enhancer_close(lanewise_enhancer* enhancer) {
    delete enhancer;
}

lanewise_enhancer_dims lanewise_enhancer_get_dims(const lanewise_enhancer* enhancer) {
    const lanewise::EnhancerShape& s = enhancer->enhancer.shape();
    return {s.hop, s.sample_rate_hz, s.delay()};
}

const char* lanewise_enhancer_isa(const lanewise_enhancer* enhancer) {
    return enhancer->enhancer.isa();
}

lanewise_enhancer_stream* lanewise_enhancer_stream_new(const lanewise_enhancer* enhancer) {
    return lanewise::guarded<lanewise_enhancer_stream*>(nullptr, [&] {
        lanewise::require_given(enhancer, "enhancer");
        return new lanewise_enhancer_stream{enhancer->enhancer.shape().hop,
                                            lanewise::EnhancerStream(enhancer->enhancer)};
    });
}

void lanewise_enhancer_stream_free(lanewise_enhancer_stream* stream) {
    delete stream;
}

int lanewise_enhancer_push(lanewise_enhancer_stream* stream, const float* in, float* out) {
    return lanewise::guarded<int>(-1, [&] {
        lanewise::require_given(stream, "stream");
        lanewise::require_given(in, "in");
        lanewise::require_given(out, "out");
        lanewise::require_finite(in, stream->hop, "in");
        stream->stream.push(in, out);
        return 0;
    });
}
