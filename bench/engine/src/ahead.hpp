// Reading what a core's own cache cannot hold.
#pragma once

namespace lanewise {

// Whether asking for lines ahead of their use pays there. It does on Zen 5 (2.05 instead of 2.2 to 2.6 cycles a line),
// and costs on Zen 4, where 1.1 to 6 MB are read in 2.35 cycles a line without and in 2.7 to 3.4 with;
// Zen 3 shares its family and is taken for it, unmeasured.
bool asks_ahead();

} // namespace lanewise
