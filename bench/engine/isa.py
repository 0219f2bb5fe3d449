"""Which instruction sets this host runs, and which one to use."""

import os

from bench.engine.native import core
from bench.errors import UsageError

ENVIRONMENT = "LANEWISE_ISA"

ISAS = ("scalar", "sse4.2", "avx2", "avx512", "avx512vnni", "neon", "neon-dot")
"""Every ISA that any build has kernels for. `avx2` has FMA; `avx512` F, BW, VL and DQ; `avx512vnni` VNNI, BF16 and VBMI
too; `neon-dot` the int8 dot product of ARMv8.2."""


def isas() -> list[str]:
    """Those of `ISAS` that this host runs, best last."""
    return list(core.host_isas())


def built_isas() -> list[str]:
    """Those of `ISAS` that this build has kernels for, whether or not this host runs them."""
    return list(core.built_isas())


def resolve_isa(isa: str | None = None) -> str:
    """Name of the ISA to use: the one asked for; for None or "auto" that of LANEWISE_ISA, else the host's best.

    Raises
    ------
    UsageError
        If the host cannot run it; the message lists what it can.
    """
    source = "isa"
    if isa in (None, "", "auto"):
        isa, source = os.environ.get(ENVIRONMENT) or "auto", ENVIRONMENT
    have = isas()
    if isa == "auto":
        return have[-1]
    if isa not in have:
        raise UsageError(f"{source}: this host cannot run {isa!r}; it runs {', '.join(have)} (or auto)")
    assert isa is not None
    return isa
