"""DNSMOS P.835: predicted speech, background and overall quality, without a reference.

Runs the network that the speechmos package bundles directly in onnxruntime, on one thread: importing
speechmos itself costs 25 s the first time, and it also runs a second network that is not needed.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure.sound.metric import FloatArray, Metric, NotComputable, Score

SAMPLE_RATE_HZ = 16_000
WINDOW = 144_160
"""Samples the network takes: 9.01 s."""

_POLYNOMIALS = {
    "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
    "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
    "dnsmos_ovr": (-0.06766283, 1.11546468, 0.04602535),
}
"""From the network's outputs, in this order, to the scale of P.835 ratings (the original's dnsmos_local.py)."""


@lru_cache(maxsize=1)
def _session() -> Any:
    package = importlib.util.find_spec("speechmos")
    if package is None or package.origin is None or importlib.util.find_spec("onnxruntime") is None:
        raise NotComputable("DNSMOS: speechmos and onnxruntime are needed; pip install speechmos onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = Path(package.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def windows(audio: FloatArray) -> list[FloatArray]:
    """Cut audio (n,) into windows of 9.01 s, one second apart; a shorter clip is repeated to fill one window.

    As many windows as the original script takes. For a short clip that script doubles it until it is long enough and
    averages several windows, which are rotations of one another; one window says the same at a fraction of the cost.
    """
    if len(audio) < WINDOW:
        return [np.resize(audio, WINDOW)]
    count = max(1, len(audio) // SAMPLE_RATE_HZ - 9)
    return [audio[start : start + WINDOW] for start in range(0, count * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)]


def compute(_reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """Mean over windows of the three P.835 scores of the degraded audio."""
    session = _session()
    raw = np.array(
        [session.run(None, {"input_1": window.astype(np.float32)[None]})[0][0] for window in windows(degraded)]
    )
    return {
        key: float(np.polyval(polynomial, raw[:, column].astype(np.float64)).mean())
        for column, (key, polynomial) in enumerate(_POLYNOMIALS.items())
    }


METRIC = Metric(
    name="dnsmos",
    scores=(
        Score("dnsmos_sig", "DNSMOS sig", "MOS", 1.0, 5.0, higher_is_better=True),
        Score("dnsmos_bak", "DNSMOS bak", "MOS", 1.0, 5.0, higher_is_better=True),
        Score("dnsmos_ovr", "DNSMOS ovr", "MOS", 1.0, 5.0, higher_is_better=True),
    ),
    needs_reference=False,
    sample_rate_hz=SAMPLE_RATE_HZ,
    package="speechmos",
    definition="Reddy, Gopal, Cutler, ICASSP 2022 (DNSMOS P.835), sig_bak_ovr network; short clips repeated to 9.01 s",
    compute=compute,
    needs=("onnxruntime",),
)
