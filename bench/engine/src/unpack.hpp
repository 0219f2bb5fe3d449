// Back from a packed layout to plain weights, for what is computed once or rarely.
#pragma once

#include "matrix.hpp"

#include <vector>

namespace lanewise {

// (cols, rows), one column after the other; zero where nothing is stored.
std::vector<float> unpack(const MatrixView& m);

} // namespace lanewise
