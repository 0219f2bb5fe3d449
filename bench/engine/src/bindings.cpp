// The Python module bench.engine._core: thin wrappers, the GIL released while the core computes.
#include "bindings.hpp"
#include "clock.hpp"
#include "error.hpp"
#include "isa.hpp"
#include "philox.hpp"
#include "stream.hpp"

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using lanewise::Array1;
using lanewise::Array2;
using lanewise::Error;
using lanewise::new_array;

lanewise::MatrixView view_of(const std::string& layout, const std::string& number, std::uint32_t tile_rows,
                             std::uint32_t tile_cols, std::uint32_t rows, std::uint32_t cols, std::uint32_t gates) {
    lanewise::MatrixView view{};
    view.layout = lanewise::parse_layout(layout);
    view.number = lanewise::parse_number(number);
    view.tile_rows = tile_rows;
    view.tile_cols = tile_cols;
    view.rows = rows;
    view.cols = cols;
    view.gates = gates;
    return view;
}

class MatVec {
public:
    // weights: bytes as stored.
    MatVec(const std::string& isa, const std::string& layout, const std::string& number, std::uint32_t tile_rows,
           std::uint32_t tile_cols, std::uint32_t rows, std::uint32_t cols, std::uint32_t gates,
           Array1<std::uint8_t> weights, Array1<std::uint16_t> index, Array1<std::uint32_t> counts,
           Array1<float> scales)
        : isa_(&lanewise::find_isa(isa)), x_(cols + lanewise::kInputPadding), scratch_(cols + lanewise::kInputPadding),
          y_(rows) {
        const lanewise::MatrixView shape = view_of(layout, number, tile_rows, tile_cols, rows, cols, gates);
        const std::size_t width = lanewise::number_bytes(shape.number);
        if (weights.size() % width)
            throw Error("matrix: weights end within a number");
        matrix_ = lanewise::Matrix("matrix", shape,
                                   {weights.data(), weights.size() / width, index.data(), index.size(), counts.data(),
                                    counts.size(), scales.data(), scales.size()});
        kernel_ = lanewise::matvec_kernel(*isa_, "matrix", matrix_.view());
    }

    nb::ndarray<nb::numpy, float> run(Array1<float> x) {
        take(x);
        float* y;
        auto result = new_array(y, matrix_.view().rows);
        kernel_(matrix_.view(), x_.data(), y, scratch_.data());
        return result;
    }
    double run_ns(Array1<float> x, int reps) {
        take(x);
        nb::gil_scoped_release release;
        const double begin = lanewise::now_ns();
        for (int i = 0; i < reps; ++i)
            kernel_(matrix_.view(), x_.data(), y_.data(), scratch_.data());
        return lanewise::now_ns() - begin;
    }
    double read_ns(int reps, const std::string& isa) {
        const auto read = lanewise::find_isa(isa).kernels->read;
        nb::gil_scoped_release release;
        const double begin = lanewise::now_ns();
        for (int i = 0; i < reps; ++i)
            sink_ = sink_ | matrix_.read(read);
        return lanewise::now_ns() - begin;
    }
    std::size_t bytes() const { return matrix_.bytes(); }

private:
    void take(const Array1<float>& x) {
        if (x.size() != matrix_.view().cols) {
            throw Error("x has " + std::to_string(x.size()) + " numbers, this matrix takes " +
                        std::to_string(matrix_.view().cols));
        }
        std::memcpy(x_.data(), x.data(), x.size() * sizeof(float));
    }

    const lanewise::Isa* isa_;
    lanewise::Matrix matrix_;
    lanewise::MatVecFn kernel_;
    lanewise::Aligned<float> x_, scratch_, y_;
    volatile std::uint64_t sink_ = 0;
};

// Frames (frames, mels) that fit the vocoder.
const float* checked(const lanewise::Vocoder& vocoder, const Array2<float>& mel) {
    if (mel.shape(0) == 0 || mel.shape(1) != vocoder.shape().mels)
        throw Error("mel has the wrong shape");
    return mel.data();
}

// Levels to feed back (steps, bands) that fit the frames.
const std::uint8_t* checked(const lanewise::Vocoder& vocoder, const Array2<std::uint8_t>& forced, std::size_t frames) {
    const std::size_t steps = frames * vocoder.shape().steps_per_frame, bands = vocoder.shape().bands;
    if (forced.shape(0) != steps || forced.shape(1) != bands) {
        const auto shape = [](std::size_t rows, std::size_t cols) {
            return "(" + std::to_string(rows) + ", " + std::to_string(cols) + ")";
        };
        throw Error("indices have shape " + shape(forced.shape(0), forced.shape(1)) + ", expected " +
                    shape(steps, bands) + ": a row per step of these frames");
    }
    return forced.data();
}

nb::ndarray<nb::numpy, float> synthesize(const lanewise::Vocoder& vocoder, Array2<float> mel, std::uint64_t seed,
                                         std::uint64_t number, double temperature) {
    lanewise::Output output;
    auto result = new_array(output.audio, mel.shape(0) * vocoder.shape().samples_per_frame());
    const float* frames = checked(vocoder, mel);
    nb::gil_scoped_release release;
    lanewise::run(vocoder, {seed, number, temperature}, frames, mel.shape(0), output);
    return result;
}

nb::ndarray<nb::numpy, std::uint8_t> levels(const lanewise::Vocoder& vocoder, Array2<float> mel, std::uint64_t seed,
                                            std::uint64_t number, double temperature) {
    lanewise::Output output;
    auto result = new_array(output.levels, mel.shape(0) * vocoder.shape().steps_per_frame, vocoder.shape().bands);
    const float* frames = checked(vocoder, mel);
    nb::gil_scoped_release release;
    lanewise::run(vocoder, {seed, number, temperature}, frames, mel.shape(0), output);
    return result;
}

nb::ndarray<nb::numpy, std::uint8_t> teacher_force(const lanewise::Vocoder& vocoder, Array2<float> mel,
                                                   Array2<std::uint8_t> forced, std::uint64_t seed,
                                                   std::uint64_t number, double temperature) {
    const float* frames = checked(vocoder, mel);
    lanewise::Output output;
    output.forced = checked(vocoder, forced, mel.shape(0));
    auto result = new_array(output.levels, forced.shape(0), forced.shape(1));
    nb::gil_scoped_release release;
    lanewise::run(vocoder, {seed, number, temperature}, frames, mel.shape(0), output);
    return result;
}

nb::ndarray<nb::numpy, float> parameters(const lanewise::Vocoder& vocoder, Array2<float> mel,
                                         Array2<std::uint8_t> forced) {
    const float* frames = checked(vocoder, mel);
    const lanewise::VocoderShape& shape = vocoder.shape();
    lanewise::Output output;
    output.forced = checked(vocoder, forced, mel.shape(0));
    auto result = new_array(output.parameters, forced.shape(0), shape.bands * 3 * shape.mixtures);
    nb::gil_scoped_release release;
    lanewise::run(vocoder, {}, frames, mel.shape(0), output);
    return result;
}

double skipped(const lanewise::Vocoder& vocoder, Array2<float> mel, std::optional<Array2<std::uint8_t>> forced,
               std::uint64_t seed, std::uint64_t number, double temperature) {
    const float* frames = checked(vocoder, mel);
    lanewise::Output output;
    if (forced)
        output.forced = checked(vocoder, *forced, mel.shape(0));
    nb::gil_scoped_release release;
    return lanewise::run(vocoder, {seed, number, temperature}, frames, mel.shape(0), output);
}

double run_ns(const lanewise::Vocoder& vocoder, Array2<float> mel, std::uint64_t seed) {
    const float* frames = checked(vocoder, mel);
    lanewise::Aligned<float> audio(mel.shape(0) * vocoder.shape().samples_per_frame());
    nb::gil_scoped_release release;
    const double begin = lanewise::now_ns();
    lanewise::run(vocoder, {seed, 0, 1.0}, frames, mel.shape(0), {audio.data(), nullptr, nullptr});
    return lanewise::now_ns() - begin;
}

std::array<double, lanewise::kParts> parts_ns(const lanewise::Vocoder& vocoder, Array2<float> mel, std::uint64_t seed) {
    const float* frames = checked(vocoder, mel);
    lanewise::Aligned<float> audio(mel.shape(0) * vocoder.shape().samples_per_frame());
    nb::gil_scoped_release release;
    return lanewise::run_timed(vocoder, {seed, 0, 1.0}, frames, mel.shape(0), {audio.data(), nullptr, nullptr});
}

class Stream {
public:
    Stream(const lanewise::Vocoder& vocoder, std::uint64_t seed, std::uint64_t number, double temperature)
        : vocoder_(vocoder), stream_(vocoder, {seed, number, temperature}) {}

    std::size_t push(Array2<float> mel) { return stream_.push(checked(vocoder_, mel), mel.shape(0)); }
    void finish() { stream_.finish(); }
    double skipped() const { return stream_.skipped(); }
    nb::ndarray<nb::numpy, float> pull() {
        const std::size_t frames = stream_.ready();
        lanewise::Output output;
        auto result = new_array(output.audio, frames * vocoder_.shape().samples_per_frame());
        nb::gil_scoped_release release;
        stream_.pull(output, frames);
        return result;
    }

private:
    const lanewise::Vocoder& vocoder_;
    lanewise::Stream stream_;
};

std::vector<std::string> names_of(const std::vector<lanewise::Isa>& isas) {
    std::vector<std::string> names;
    for (const auto& isa : isas)
        names.emplace_back(isa.name);
    return names;
}

// Of an ISA in this build, whether or not this host runs it.
bool has_kernel(const std::string& isa, const std::string& layout, const std::string& number, std::uint32_t tile_rows,
                std::uint32_t tile_cols) {
    const auto shape = view_of(layout, number, tile_rows, tile_cols, 1, 1, 1);
    for (const auto& built : lanewise::built_isas()) {
        if (isa == built.name)
            return lanewise::find_kernel(*built.kernels, shape) != nullptr;
    }
    return false;
}

// n dependent additions, one cycle each on every core we know: what the clock really runs at.
double add_chain_ns(std::uint64_t n) {
    nb::gil_scoped_release release;
    std::uint64_t value = 0, one = 1;
    asm volatile("" : "+r"(one)); // a constant could be folded away by the compiler or by the core
    const double begin = lanewise::now_ns();
    for (std::uint64_t i = 0; i < n / 32; ++i) {
#pragma GCC unroll 32
        for (int k = 0; k < 32; ++k) {
            value += one;
            asm volatile("" : "+r"(value));
        }
    }
    for (std::uint64_t i = 0; i < n % 32; ++i) {
        value += one;
        asm volatile("" : "+r"(value));
    }
    return lanewise::now_ns() - begin;
}

double read_ns(nb::ndarray<const std::uint8_t, nb::shape<-1>, nb::c_contig, nb::device::cpu> buffer, int reps,
               const std::string& isa) {
    const auto read = lanewise::find_isa(isa).kernels->read;
    nb::gil_scoped_release release;
    volatile std::uint64_t sink = 0;
    const double begin = lanewise::now_ns();
    for (int i = 0; i < reps; ++i)
        sink = sink | read(buffer.data(), buffer.size());
    return lanewise::now_ns() - begin;
}

// Nanoseconds and operations of multiply-adds that touch no memory.
std::pair<double, std::uint64_t> peak(const std::string& format, std::uint64_t steps, const std::string& isa) {
    const lanewise::Kernels& kernels = *lanewise::find_isa(isa).kernels;
    const lanewise::Number number = lanewise::parse_number(format);
    const auto run = number == lanewise::Number::f32    ? kernels.peak_f32
                     : number == lanewise::Number::bf16 ? kernels.peak_bf16
                                                        : kernels.peak_int8;
    nb::gil_scoped_release release;
    const double begin = lanewise::now_ns();
    const std::uint64_t operations = run(steps);
    return {lanewise::now_ns() - begin, operations};
}

nb::ndarray<nb::numpy, float> apply(const std::string& function, Array1<float> x, const std::string& isa) {
    const lanewise::Kernels& kernels = *lanewise::find_isa(isa).kernels;
    float* y;
    auto result = new_array(y, x.size());
    const auto run = function == "exp"       ? kernels.exp
                     : function == "log"     ? kernels.log
                     : function == "sigmoid" ? kernels.sigmoid
                                             : kernels.tanh;
    run(x.size(), x.data(), y);
    return result;
}

} // namespace

NB_MODULE(_core, m) {
    nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
        try {
            std::rethrow_exception(pointer);
        } catch (const Error& error) {
            nb::object type = nb::module_::import_("bench.errors").attr("LanewiseError");
            PyErr_SetString(type.ptr(), error.what());
        }
    });

    m.def("host_isas", [] { return names_of(lanewise::host_isas()); });
    m.def("built_isas", [] { return names_of(lanewise::built_isas()); });
    m.def("has_kernel", &has_kernel, "isa"_a, "layout"_a, "number"_a, "tile_rows"_a, "tile_cols"_a);
    m.def("checksum", [](nb::bytes file) {
        return lanewise::checksum(reinterpret_cast<const unsigned char*>(file.c_str()), file.size());
    });
    m.def("read_header", [](const std::string& path) { return std::string(lanewise::PackedFile(path).header_text()); });
    m.def("check_dims", &lanewise::check_dims, "dims"_a);
    m.def("philox", &lanewise::philox, "counter"_a, "key"_a);
    m.def("uniform", &lanewise::uniform, "word"_a);
    m.def("apply", &apply, "function"_a, "x"_a, "isa"_a);
    m.def("add_chain_ns", &add_chain_ns, "n"_a);
    m.def("read_ns", &read_ns, "buffer"_a, "reps"_a, "isa"_a);
    m.def("peak", &peak, "format"_a, "steps"_a, "isa"_a);

    nb::class_<MatVec>(m, "MatVec")
        .def(nb::init<const std::string&, const std::string&, const std::string&, std::uint32_t, std::uint32_t,
                      std::uint32_t, std::uint32_t, std::uint32_t, Array1<std::uint8_t>, Array1<std::uint16_t>,
                      Array1<std::uint32_t>, Array1<float>>(),
             "isa"_a, "layout"_a, "number"_a, "tile_rows"_a, "tile_cols"_a, "rows"_a, "cols"_a, "gates"_a, "weights"_a,
             "index"_a, "counts"_a, "scales"_a)
        .def("run", &MatVec::run, "x"_a)
        .def("run_ns", &MatVec::run_ns, "x"_a, "reps"_a)
        .def("read_ns", &MatVec::read_ns, "reps"_a, "isa"_a)
        .def_prop_ro("bytes", &MatVec::bytes);

    nb::class_<lanewise::Vocoder>(m, "Vocoder")
        .def(nb::init<const std::string&, const std::string&>(), "path"_a, "isa"_a)
        .def_prop_ro("header", &lanewise::Vocoder::header)
        .def_prop_ro("isa", &lanewise::Vocoder::isa)
        .def_prop_ro("table_bytes", [](const lanewise::Vocoder& v) { return v.table_bytes(); })
        .def_prop_ro("mel_mean", [](const lanewise::Vocoder& v) { return v.mel_mean(); })
        .def_prop_ro("mel_std", [](const lanewise::Vocoder& v) { return v.mel_std(); })
        .def("synthesize", &synthesize, "mel"_a, "seed"_a, "utterance"_a, "temperature"_a)
        .def("indices", &levels, "mel"_a, "seed"_a, "utterance"_a, "temperature"_a)
        .def("teacher_force", &teacher_force, "mel"_a, "indices"_a, "seed"_a, "utterance"_a, "temperature"_a)
        .def("parameters", &parameters, "mel"_a, "indices"_a)
        .def("skipped", &skipped, "mel"_a, "indices"_a.none(), "seed"_a, "utterance"_a, "temperature"_a)
        .def("run_ns", &run_ns, "mel"_a, "seed"_a)
        .def("parts_ns", &parts_ns, "mel"_a, "seed"_a);

    nb::class_<Stream>(m, "Stream")
        .def(nb::init<const lanewise::Vocoder&, std::uint64_t, std::uint64_t, double>(), "vocoder"_a, "seed"_a,
             "utterance"_a, "temperature"_a, nb::keep_alive<1, 2>())
        .def("push", &Stream::push, "mel"_a)
        .def("finish", &Stream::finish)
        .def("pull", &Stream::pull)
        .def_prop_ro("skipped", &Stream::skipped);

    lanewise::bind_enhancer(m);
}
