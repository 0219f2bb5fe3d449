// The enhancer in the Python module.
#include "bindings.hpp"
#include "clock.hpp"
#include "enhancer_stream.hpp"
#include "error.hpp"

#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>

using namespace nanobind::literals;

namespace lanewise {

namespace {

nb::ndarray<nb::numpy, float> enhance_clip(const Enhancer& enhancer, Array1<float> audio) {
    float* out;
    auto result = new_array(out, audio.size());
    nb::gil_scoped_release release;
    enhance(enhancer, audio.data(), audio.size(), out);
    return result;
}

nb::ndarray<nb::numpy, float> band_mask(const Enhancer& enhancer, Array2<float> features) {
    const std::size_t mels = enhancer.shape().mels;
    if (features.shape(1) != mels)
        throw Error("features have the wrong shape");
    float* mask;
    auto result = new_array(mask, features.shape(0), mels);
    nb::gil_scoped_release release;
    EnhancerStream stream(enhancer);
    for (std::size_t i = 0; i < features.shape(0); ++i)
        stream.step(features.data() + i * mels, mask + i * mels);
    return result;
}

// Calls push(stream, in, out) for each whole hop of a fresh stream, having called start().
template <typename Start, typename Push>
void run_hops(const Enhancer& enhancer, const Array1<float>& audio, Start start, Push push) {
    const std::size_t hop = enhancer.shape().hop;
    EnhancerStream stream(enhancer);
    Aligned<float> out(hop);
    start();
    for (std::size_t begin = 0; begin + hop <= audio.size(); begin += hop)
        push(stream, audio.data() + begin, out.data());
}

double run_ns(const Enhancer& enhancer, Array1<float> audio) {
    nb::gil_scoped_release release;
    double begin = 0;
    run_hops(
        enhancer, audio, [&] { begin = now_ns(); },
        [](EnhancerStream& stream, const float* in, float* out) { stream.push(in, out); });
    return now_ns() - begin;
}

std::array<double, kEnhancerParts> parts_ns(const Enhancer& enhancer, Array1<float> audio) {
    nb::gil_scoped_release release;
    PartClock<kEnhancerParts> clock;
    run_hops(
        enhancer, audio, [&] { clock.start(); },
        [&](EnhancerStream& stream, const float* in, float* out) { stream.push(in, out, clock); });
    return clock.parts_ns();
}

class HopStream {
public:
    explicit HopStream(const Enhancer& enhancer) : hop_(enhancer.shape().hop), stream_(enhancer) {}

    nb::ndarray<nb::numpy, float> push(Array1<float> hop) {
        if (hop.size() != hop_)
            throw Error("hop has the wrong shape");
        float* out;
        auto result = new_array(out, hop_);
        nb::gil_scoped_release release;
        stream_.push(hop.data(), out);
        return result;
    }

private:
    std::size_t hop_;
    EnhancerStream stream_;
};

// Bins of n windowed samples, (2, n / 2 + 1): real and imaginary parts.
nb::ndarray<nb::numpy, float> spectrum(Array1<float> x, Array1<float> window, const std::string& isa) {
    const Fft fft(x.size());
    if (window.size() != x.size())
        throw Error("window and samples differ in length");
    float* bins;
    auto result = new_array(bins, 2, fft.bins());
    Aligned<float> scratch(fft.scratch_floats());
    find_isa(isa).kernels->spectrum(fft.view(), x.data(), window.data(), bins, bins + fft.bins(), scratch.data());
    return result;
}

// The inverse, windowed.
nb::ndarray<nb::numpy, float> resynthesis(Array2<float> bins, Array1<float> window, const std::string& isa) {
    const Fft fft(window.size());
    if (bins.shape(0) != 2 || bins.shape(1) != fft.bins())
        throw Error("bins have the wrong shape");
    float* samples;
    auto result = new_array(samples, window.size());
    std::memset(samples, 0, window.size() * sizeof(float));
    Aligned<float> scratch(fft.scratch_floats());
    find_isa(isa).kernels->overlap_add(fft.view(), bins.data(), bins.data() + fft.bins(), window.data(), samples,
                                       scratch.data());
    return result;
}

} // namespace

void bind_enhancer(nb::module_& m) {
    m.def("check_enhancer_dims", &check_enhancer_dims, "dims"_a);
    m.def("spectrum", &spectrum, "x"_a, "window"_a, "isa"_a);
    m.def("resynthesis", &resynthesis, "bins"_a, "window"_a, "isa"_a);

    nb::class_<Enhancer>(m, "Enhancer")
        .def(nb::init<const std::string&, const std::string&>(), "path"_a, "isa"_a)
        .def_prop_ro("header", &Enhancer::header)
        .def_prop_ro("isa", &Enhancer::isa)
        .def("enhance", &enhance_clip, "audio"_a)
        .def("band_mask", &band_mask, "features"_a)
        .def("run_ns", &run_ns, "audio"_a)
        .def("parts_ns", &parts_ns, "audio"_a);

    nb::class_<HopStream>(m, "EnhancerStream")
        .def(nb::init<const Enhancer&>(), "enhancer"_a, nb::keep_alive<1, 2>())
        .def("push", &HopStream::push, "hop"_a);
}

} // namespace lanewise
