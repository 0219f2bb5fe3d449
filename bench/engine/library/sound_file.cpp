#include "sound_file.hpp"

#include "error.hpp"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <unistd.h>
#include <utility>

namespace lanewise {

namespace {

template <typename T> T at(const unsigned char* bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes + offset, sizeof value);
    return value;
}

bool is(const unsigned char* bytes, const char* mark) {
    return std::memcmp(bytes, mark, std::strlen(mark)) == 0;
}

constexpr std::size_t kHeaderBytes = 44;

} // namespace

WavReader::WavReader(const std::string& path, std::size_t sample_rate_hz) : file_(path) {
    const auto require = [&path](bool good, const std::string& what) {
        if (!good)
            throw Error(path + ": " + what);
    };
    const unsigned char* bytes = file_.data();
    const std::size_t end = file_.size();
    require(end > 0, "is empty; record or export it again");
    require(end >= 12 && is(bytes, "RIFF") && is(bytes + 8, "WAVE"),
            "is not a wav file; expected mono, 16-bit or 32-bit float (mel frames: .npy, .f32 or .mel)");
    bool described = false;
    std::size_t width = 0;
    for (std::size_t chunk = 12; !samples_;) {
        require(chunk + 8 <= end, "is cut short or no sound file: it has no samples; copy or export it again");
        const std::size_t size = at<std::uint32_t>(bytes, chunk + 4), body = chunk + 8;
        if (is(bytes + chunk, "fmt ")) {
            require(size >= 16 && size <= end - body, "is cut short; copy or export it again");
            auto coding = at<std::uint16_t>(bytes, body);
            if (coding == 0xfffe && size >= 26)
                coding = at<std::uint16_t>(bytes, body + 24); // "extensible": the coding stands further behind
            const auto channels = at<std::uint16_t>(bytes, body + 2), bits = at<std::uint16_t>(bytes, body + 14);
            const auto rate = at<std::uint32_t>(bytes, body + 4);
            require(channels == 1, "has " + std::to_string(channels) + " channels, expected mono; mix it down first");
            require(rate == sample_rate_hz, "sample rate is " + std::to_string(rate) + " Hz, expected " +
                                                std::to_string(sample_rate_hz) + " Hz; resample it first");
            floats_ = coding == 3 && bits == 32;
            require(floats_ || (coding == 1 && bits == 16), "holds " + std::to_string(bits) +
                                                                "-bit samples of coding " + std::to_string(coding) +
                                                                ", expected 16-bit (1) or 32-bit float (3)");
            width = bits / 8;
            described = true;
        } else if (is(bytes + chunk, "data")) {
            require(described, "has samples before their description; export it again");
            require(size <= end - body, "is cut short: its header promises " + std::to_string(size) +
                                            " bytes of sound, " + std::to_string(end - body) +
                                            " are there; copy or export it again");
            samples_ = bytes + body;
            size_ = size / width;
        }
        chunk = body + size + size % 2;
    }
    require(size_ > 0, "holds no samples; record or export it again");
    std::size_t bad = 0;
    for (std::size_t i = 0; i < size_; ++i)
        bad += !std::isfinite((*this)[i]);
    require(bad == 0,
            std::to_string(bad) + " of " + std::to_string(size_) + " samples are NaN or infinite; export it again");
}

float WavReader::operator[](std::size_t i) const {
    return floats_ ? at<float>(samples_, 4 * i) : static_cast<float>(at<std::int16_t>(samples_, 2 * i)) / 32768.0f;
}

MelReader::MelReader(const std::string& path, std::size_t mels) : file_(path), values_(file_.data()), mels_(mels) {
    const auto require = [&path](bool good, const std::string& what) {
        if (!good)
            throw Error(path + ": " + what);
    };
    const std::string expected = "expected float32 (frames, " + std::to_string(mels) + "), little-endian, C order";
    std::size_t size = file_.size();
    require(size > 0, "is empty; " + expected);
    if (size >= 10 && is(values_, "\x93NUMPY")) {
        const bool first = values_[6] == 1;
        const std::size_t begin = first ? 10 : 12;
        require(size >= begin, "is cut short; write it again");
        const std::size_t header = first ? at<std::uint16_t>(values_, 8) : at<std::uint32_t>(values_, 8);
        require(header <= size - begin, "is cut short; write it again");
        const std::string text(reinterpret_cast<const char*>(values_) + begin, header);
        const std::size_t shape = text.find("'shape': ("), comma = text.find(", ", shape);
        require(text.find("'descr': '<f4'") != text.npos && text.find("'fortran_order': False") != text.npos &&
                    shape != text.npos && comma != text.npos && text.find(')', shape) > comma,
                "is another array; " + expected);
        const unsigned long frames = std::strtoul(text.c_str() + shape + 10, nullptr, 10);
        const unsigned long columns = std::strtoul(text.c_str() + comma + 2, nullptr, 10);
        require(columns == mels, "has " + std::to_string(columns) + " numbers in a frame; " + expected);
        values_ += begin + header;
        size -= begin + header;
        require(size / 4 / mels == frames && size == frames * mels * 4, "is cut short or altered; write it again");
    }
    require(size % (4 * mels) == 0, "has " + std::to_string(size) + " bytes, which are no whole frames; " + expected);
    frames_ = size / (4 * mels);
    require(frames_ > 0, "holds no frames; " + expected);
    for (std::size_t i = 0; i < frames_ * mels; ++i)
        require(std::isfinite(at<float>(values_, 4 * i)), "holds NaN or infinite numbers; write it again");
}

void MelReader::read(std::size_t frame, float* mel) const {
    std::memcpy(mel, values_ + frame * mels_ * sizeof(float), mels_ * sizeof(float));
}

WavWriter::WavWriter(const std::string& path, std::size_t sample_rate_hz, std::size_t samples)
    : path_(path), partial_(path + "." + std::to_string(getpid()) + ".partial"), file_(nullptr) {
    constexpr std::size_t kMost = (UINT32_MAX - kHeaderBytes) / 2;
    if (samples > kMost)
        throw Error(path + ": cannot hold " + std::to_string(samples) + " samples, a wav file holds " +
                    std::to_string(kMost) + "; synthesise it in parts");
    file_ = std::fopen(partial_.c_str(), "wb");
    check(file_ != nullptr);
    const auto bytes = static_cast<std::uint32_t>(2 * samples), rate = static_cast<std::uint32_t>(sample_rate_hz);
    const std::uint32_t riff_bytes = bytes + kHeaderBytes - 8, format_bytes = 16, byte_rate = 2 * rate;
    const std::uint16_t coding = 1, channels = 1, block = 2, bits = 16;
    unsigned char header[kHeaderBytes];
    unsigned char* to = header;
    const auto put = [&to](const void* from, std::size_t size) {
        std::memcpy(to, from, size);
        to += size;
    };
    put("RIFF", 4), put(&riff_bytes, 4), put("WAVEfmt ", 8), put(&format_bytes, 4), put(&coding, 2);
    put(&channels, 2), put(&rate, 4), put(&byte_rate, 4), put(&block, 2), put(&bits, 2), put("data", 4), put(&bytes, 4);
    check(std::fwrite(header, 1, kHeaderBytes, file_) == kHeaderBytes);
}

WavWriter::~WavWriter() {
    if (file_)
        std::fclose(file_);
    if (!moved_)
        std::remove(partial_.c_str());
}

void WavWriter::write(const float* audio, std::size_t samples) {
    for (std::size_t i = 0; i < samples; ++i) {
        if (!std::isfinite(audio[i]))
            throw Error(path_ + ": the model made NaN or infinite samples; its weights are too large, train it again");
        const double scaled = std::nearbyint(static_cast<double>(audio[i]) * 32768.0);
        const auto pcm = static_cast<std::int16_t>(scaled < -32768.0 ? -32768.0 : scaled > 32767.0 ? 32767.0 : scaled);
        check(std::fwrite(&pcm, 1, sizeof pcm, file_) == sizeof pcm);
    }
}

void WavWriter::rewind() {
    check(std::fseek(file_, kHeaderBytes, SEEK_SET) == 0);
}

void WavWriter::close() {
    // Whether or not it succeeds, fclose ends the file: it must not be closed again.
    check(std::fclose(std::exchange(file_, nullptr)) == 0);
    check(std::rename(partial_.c_str(), path_.c_str()) == 0);
    moved_ = true;
}

void WavWriter::check(bool good) const {
    if (!good)
        throw Error(path_ + ": cannot be written: " + std::strerror(errno) + "; free space or name another place");
}

} // namespace lanewise
