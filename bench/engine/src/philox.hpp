// Philox 4x32-10, a counter-based random generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC11).
#pragma once

#include <array>
#include <cstdint>

namespace lanewise {

using Counter = std::array<std::uint32_t, 4>;
using Key = std::array<std::uint32_t, 2>;

inline Counter philox(Counter counter, Key key) {
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
        const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
        counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
                   static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
        key[0] += 0x9E3779B9;
        key[1] += 0xBB67AE85;
    }
    return counter;
}

// Uniform in (0, 1) from the upper 24 bits, half a step off the ends.
inline double uniform(std::uint32_t word) {
    return (static_cast<double>(word >> 8) + 0.5) * 0x1p-24;
}

} // namespace lanewise
