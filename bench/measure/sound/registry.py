"""The sound metrics of Lanewise. A new metric is a file with a `METRIC` and a line here."""

from collections.abc import Sequence

from bench.errors import UsageError, did_you_mean
from bench.measure.sound import (
    dnsmos,
    estoi,
    logf0_rmse,
    mcd_db,
    mrstft,
    pesq_wb,
    sdr,
    si_sdr,
    stoi,
    visqol,
    voicing_error,
)
from bench.measure.sound.metric import Metric, Score

METRICS: tuple[Metric, ...] = (
    pesq_wb.METRIC,
    stoi.METRIC,
    estoi.METRIC,
    mcd_db.METRIC,
    logf0_rmse.METRIC,
    voicing_error.METRIC,
    mrstft.METRIC,
    visqol.METRIC,
    si_sdr.METRIC,
    sdr.METRIC,
    dnsmos.METRIC,
)
"""In the order of table columns."""

SCORES: dict[str, Score] = {score.key: score for metric in METRICS for score in metric.scores}
"""Every number by its key, in the order of table columns."""


def choose(names: Sequence[str] | None) -> tuple[Metric, ...]:
    """Return the metrics named (by metric name or score key), in registry order; all of them for None.

    Raises
    ------
    UsageError
        A name is unknown; the message lists those that exist.
    """
    if names is None:
        return METRICS
    known = {name for metric in METRICS for name in (metric.name, *metric.keys)}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        got = ", ".join(unknown) or "none given"
        hint = did_you_mean(unknown[0], sorted(known)) if unknown else ""
        raise UsageError(
            f"unknown sound metric: {got}{hint}; choose from {', '.join(SCORES)}, dnsmos (its three scores)"
        )
    return tuple(metric for metric in METRICS if {metric.name, *metric.keys} & set(names))


def packages(names: Sequence[str]) -> dict[str, str]:
    """Return what is installed, or absent, of each named metric's packages, by metric; own code is left out."""
    return {metric.name: metric.packages for metric in (choose(names) if names else ()) if metric.packages}


def chosen_keys(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the score keys that `names` ask for, in registry order (a metric's name asks for all its scores)."""
    wanted = set(names) if names is not None else None
    return tuple(
        key
        for metric in choose(names)
        for key in metric.keys
        if wanted is None or metric.name in wanted or key in wanted
    )
