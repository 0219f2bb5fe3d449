"""ViSQOL, speech mode."""

from functools import lru_cache
from typing import Any

from bench.measure.sound.metric import FloatArray, Metric, NotComputable, Score
from bench.measure.sound.quiet import native_stderr_silenced


@lru_cache(maxsize=1)
def _api() -> Any:
    try:
        import visqol
    except ImportError as error:
        raise NotComputable("ViSQOL: visqol-python is not installed; pip install 'visqol-python[lattice]'") from error
    api = visqol.VisqolApi()
    try:
        # Asked for by name: left to itself the package falls back to a polynomial that over-predicts by 1 to 2.
        with native_stderr_silenced():
            api.create(mode="speech", use_lattice_model=True)
    except ImportError as error:
        raise NotComputable("ViSQOL: its lattice extra is missing; pip install 'visqol-python[lattice]'") from error
    return api


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """MOS-LQO of ViSQOL v3 in speech mode, with the lattice mapping."""
    return {"visqol": float(_api().measure_from_arrays(reference, degraded, 16_000).moslqo)}


METRIC = Metric(
    name="visqol",
    scores=(Score("visqol", "ViSQOL", "MOS-LQO", 1.0, 5.0, higher_is_better=True),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package="visqol-python",
    definition="Chinen et al., QoMEX 2020 (ViSQOL v3), speech mode at 16 kHz, deep-lattice mapping",
    compute=compute,
    needs=("ai-edge-litert",),
)
