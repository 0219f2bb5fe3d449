"""Error of the pitch contour."""

import numpy as np

from bench.measure.sound.metric import FloatArray, Metric, NotComputable, Score
from bench.measure.sound.world import analyse


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """Root mean square of ln(F0 of degraded / F0 of reference) over frames voiced in both."""
    ref, deg = analyse(reference), analyse(degraded)
    both = ref.voiced & deg.voiced
    if not both.any():
        raise NotComputable(
            f"log-F0: no frame is voiced in both (reference {ref.voiced.sum()}, degraded {deg.voiced.sum()})"
        )
    return {"logf0_rmse": float(np.sqrt(np.mean(np.square(np.log(deg.f0_hz[both] / ref.f0_hz[both])))))}


METRIC = Metric(
    name="logf0_rmse",
    scores=(Score("logf0_rmse", "log-F0 RMSE", "ln Hz", 0.0, float("inf"), higher_is_better=False),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package="pyworld",
    definition=(
        "root mean square difference of natural log F0 (0.0578 is a semitone) over 5 ms frames voiced in both; "
        "F0 by WORLD's DIO and StoneMask (Morise et al., IEICE Trans. E99-D(7), 2016)"
    ),
    compute=compute,
    needs=("setuptools",),  # pyworld imports its pkg_resources
)
