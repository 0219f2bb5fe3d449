"""The inference engine: packed models and sparse matrix-vector kernels, on one CPU core, for every ISA of the host.

`Vocoder` runs a packed model (`*.lwm`, written by `bench.engine.pack`) from mel frames to waveform, `Enhancer` one of
`bench.engine.pack_enhancer` from noisy speech to cleaner speech; `MatVec` is one weight matrix with the kernel of its
tile; `bench.engine.table` says which kernel exists. The C++ core releases the GIL.
"""

from bench.engine.enhancer import Enhancer, EnhancerStream
from bench.engine.isa import isas, resolve_isa
from bench.engine.matvec import MatVec, add_chain_ns, peak, read_ns
from bench.engine.stream import Stream
from bench.engine.vocoder import Vocoder

__all__ = [
    "Enhancer",
    "EnhancerStream",
    "MatVec",
    "Stream",
    "Vocoder",
    "add_chain_ns",
    "isas",
    "peak",
    "read_ns",
    "resolve_isa",
]
