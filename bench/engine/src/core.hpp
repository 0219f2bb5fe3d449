// What the core at hand does best, where cores of one ISA differ.
#pragma once

namespace lanewise {

// How early a line is asked for: not at all, two lines before its use, or some kilobytes before.
enum class Ahead { none, two_lines, far };

// What pays here beyond L2. Zen 5 wants lines far ahead (2.05 instead of 2.2 to 2.6 cycles a line). On Zen 4 they are
// then read in 2.7 to 3.5 cycles instead of 2.36, while two lines ahead cost nothing and help loops that compute,
// and anything out of the slow end of L3 (12.6 MB: 3.0 instead of 3.2). Zen 3 shares its family and is taken for it,
// unmeasured.
Ahead ahead_beyond_l2();

// Whether 512-bit loads and sums are done in two halves, as Zen 4 does: only its 256-bit broadcasts come two a cycle.
bool halves_512_bits();

template <Ahead kAhead> struct AheadConstant {
    static constexpr Ahead value = kAhead;
};

// run(AheadConstant), compiled for each way.
template <typename Run> auto with_ahead(Ahead ahead, Run run) {
    switch (ahead) {
    case Ahead::far:
        return run(AheadConstant<Ahead::far>{});
    case Ahead::two_lines:
        return run(AheadConstant<Ahead::two_lines>{});
    case Ahead::none:
        break;
    }
    return run(AheadConstant<Ahead::none>{});
}

// Bytes between a load and what is asked for beside it, where `far` means so many.
template <Ahead kAhead> constexpr int ahead_bytes(int far) {
    return kAhead == Ahead::far ? far : 2 * 64;
}

} // namespace lanewise
