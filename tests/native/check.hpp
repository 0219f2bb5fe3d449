// A test framework in a few lines: named tests, checks that say where they failed, fresh random numbers each run.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace lanewise::test {

using Rng = std::mt19937_64;

struct Test {
    const char* name;
    void (*body)(Rng&);
};
inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}
struct Registration {
    Registration(const char* name, void (*body)(Rng&)) { tests().push_back({name, body}); }
};

inline std::size_t pick(Rng& rng, std::size_t least, std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(least, most)(rng);
}
inline std::vector<float> normal(Rng& rng, std::size_t n, double spread = 1.0) {
    std::normal_distribution<double> draw(0.0, spread);
    std::vector<float> values(n);
    for (float& value : values)
        value = static_cast<float>(draw(rng));
    return values;
}

// Runs every test from the same seed: argv[1], or a fresh one that is printed, so that a failure can be repeated.
inline int run_all(int argc, char** argv) {
    const std::uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 0) : std::random_device()();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    int failed = 0;
    for (const Test& test : tests()) {
        Rng rng(seed);
        try {
            test.body(rng);
            std::printf("passed %s\n", test.name);
        } catch (const std::exception& error) {
            ++failed;
            std::printf("FAILED %s: %s\n", test.name, error.what());
        }
    }
    return failed ? 1 : 0;
}

} // namespace lanewise::test

#define TEST(name)                                                                                                     \
    static void name([[maybe_unused]] lanewise::test::Rng& rng);                                                       \
    static const lanewise::test::Registration name##_registration(#name, name);                                        \
    static void name([[maybe_unused]] lanewise::test::Rng& rng)

// CHECK(condition, what): `what` (a string expression) says which of many cases it was.
#define CHECK(condition, what)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            throw std::runtime_error(std::string(__FILE__ ":") + std::to_string(__LINE__) + ": " #condition " (" +     \
                                     std::string(what) + ")");                                                         \
        }                                                                                                              \
    } while (false)
