// Clocks: nanoseconds of a span, and the time stamp counter for parts of a step (reading it costs about 10 ns).
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lanewise {

inline double now_ns() {
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline std::uint64_t ticks() {
#ifdef LANEWISE_X86
    return __builtin_ia32_rdtsc();
#else
    return static_cast<std::uint64_t>(now_ns());
#endif
}

struct NoClock {
    void start() {}
    void lap(int) {}
};

// Adds the time since the last lap to a part; the parts add up to the whole.
template <std::size_t N> class PartClock {
public:
    void start() {
        begin_ns_ = now_ns();
        last_ = ticks();
    }
    void lap(int part) {
        const std::uint64_t now = ticks();
        ticks_[static_cast<std::size_t>(part)] += now - last_;
        last_ = now;
    }
    // Ticks are turned into time by the whole span, whose length in both is known.
    std::array<double, N> parts_ns() const {
        const double whole_ns = now_ns() - begin_ns_;
        double all = 0;
        for (const std::uint64_t part : ticks_)
            all += static_cast<double>(part);
        std::array<double, N> ns{};
        for (std::size_t i = 0; i < N; ++i)
            ns[i] = all > 0 ? whole_ns * static_cast<double>(ticks_[i]) / all : 0;
        return ns;
    }

private:
    double begin_ns_ = 0;
    std::uint64_t last_ = 0;
    std::array<std::uint64_t, N> ticks_{};
};

} // namespace lanewise
