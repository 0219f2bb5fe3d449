// Slaney's mel scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above.
#pragma once

#include <cmath>

namespace lanewise {

inline double mel_of(double hz) {
    return hz < 1000.0 ? hz * 3.0 / 200.0 : 15.0 + std::log(hz / 1000.0) * 27.0 / std::log(6.4);
}
inline double hz_of(double mel) {
    return mel < 15.0 ? mel * 200.0 / 3.0 : 1000.0 * std::exp((mel - 15.0) * std::log(6.4) / 27.0);
}

} // namespace lanewise
