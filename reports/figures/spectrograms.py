"""Spectrograms of one utterance, aligned in time and level: references, dense-continued and the arms."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.analysis import Analysis
from reports.figures.style import empty, figure, short
from reports.listening import audio_of, choose, read_audio, systems

MOST_PANELS = 12
WINDOW, HOP = 512, 128
FLOOR_DB = -80.0
HEAD = 0.28
"""Room above a panel for its title; panels are one high."""


@dataclass(frozen=True)
class Panel:
    """Level in dB over (frequency bins, frames), 0 dB at the loudest point of the first panel."""

    system: str
    level_db: NDArray[np.float64]
    seconds: float
    nyquist_hz: float


def data(analysis: Analysis) -> tuple[str, list[Panel]]:
    """The utterance with the median loss (else the first stored) and one panel per system that has its audio."""
    choices = choose(analysis)
    if not choices:
        return "", []
    utterance = choices[len(choices) // 2].utterance
    panels: list[Panel] = []
    loudest = None
    for system in systems(analysis):
        path = audio_of(analysis, system, utterance)
        if path is None:
            continue
        samples, rate = read_audio(path)
        magnitude = _magnitude(samples)
        loudest = loudest or float(magnitude.max()) or 1.0
        level = 20 * np.log10(np.maximum(magnitude / loudest, 10 ** (FLOOR_DB / 20)))
        panels.append(Panel(system, level, len(samples) / rate, rate / 2))
    return utterance, panels


def _magnitude(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    padded = np.pad(samples.astype(np.float64), (WINDOW // 2, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: len(samples) : HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1], axis=1)).T


def draw(analysis: Analysis) -> Figure:
    """Panels below each other on one pair of axes (a dozen take seconds to lay out) and one colour scale."""
    utterance, panels = data(analysis)
    if not panels:
        return empty("No audio is stored with these records.")
    shown = panels[:MOST_PANELS]
    with figure(7.6, 0.5 + 1.15 * len(shown)) as drawn:
        axes = drawn.subplots()
        ticks: dict[float, str] = {}
        for row, panel in enumerate(shown):
            foot = -row * (1 + HEAD)
            image = axes.imshow(
                panel.level_db, origin="lower", aspect="auto", cmap="magma", vmin=FLOOR_DB, vmax=0,
                extent=(0, panel.seconds, foot, foot + 1), interpolation="nearest",
            )  # fmt: skip
            axes.text(0, foot + 1.03, short(panel.system), va="bottom")
            ticks |= {foot + share: f"{share * panel.nyquist_hz / 1000:g}" for share in (0, 0.5, 1)}
        axes.grid(False)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylabel("kHz")
        axes.set_ylim(-(len(shown) - 1) * (1 + HEAD), 1 + HEAD)
        axes.set_xlabel(f"seconds of utterance {short(utterance)}")
        axes.set_xlim(0, max(panel.seconds for panel in shown))
        drawn.colorbar(image, ax=axes, label="level, dB", shrink=0.4, aspect=40, pad=0.01)
        return drawn
