// The 8-bit mu-law quantiser of band samples (ITU-T G.711's continuous law, mu = 255): values of levels and edges.
#pragma once

#include "kernels.hpp"

#include <cmath>

namespace lanewise {

constexpr std::uint8_t kSilentLevel = 128; // fed back before the first step

// A position on the companded axis -1..1: level i lies at position i, the edge between k - 1 and k at k - 0.5.
inline double companded(double position) {
    return position / 127.5 - 1.0;
}

// The band sample at a position.
inline double mu_law_value(double position) {
    const double y = companded(position);
    return std::copysign(std::expm1(std::abs(y) * std::log1p(255.0)) / 255.0, y);
}

inline Edges make_edges() {
    constexpr float kNever = 1e30f; // sentinel behind the last edge of a round: its probability is 1
    Edges edges;
    for (int i = 0; i < kProbes; ++i) {
        edges.coarse[i] = i + 1 < kProbes ? static_cast<float>(companded(kProbes * (i + 1) - 0.5)) : kNever;
        for (int k = 0; k < kProbes; ++k) {
            edges.fine[kProbes * i + k] =
                k + 1 < kProbes ? static_cast<float>(companded(kProbes * i + k + 1 - 0.5)) : kNever;
        }
    }
    for (int k = 1; k < kLevels; ++k)
        edges.exact[k - 1] = companded(k - 0.5);
    return edges;
}

} // namespace lanewise
