"""Pictures of a trial: where a mask keeps its weights, and what the speech looks like beside the recording."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.data.audio import FloatArray
from bench.trial.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.trial.context import Trial
    from bench.trial.learning import Arm

Matrix = npt.NDArray[np.floating]

MAX_CELLS = 384
"""Most rows or columns of a heat map; larger masks are drawn as local densities."""

GAP = 4
"""Pixels between the gates of a heat map without axes."""


def mask_density(mask: npt.NDArray[np.bool_], most: int = MAX_CELLS) -> FloatArray:
    """Return the kept share of the weights in each cell of a picture of at most `most` x `most` cells.

    Cells hold the same number of weights in each direction, but for the last ones.
    """
    rows, columns = (-(-size // most) for size in mask.shape)
    row_starts = np.arange(0, mask.shape[0], rows)
    column_starts = np.arange(0, mask.shape[1], columns)
    sums = np.add.reduceat(np.add.reduceat(mask.astype(np.float64), row_starts, axis=0), column_starts, axis=1)
    heights = np.diff(np.append(row_starts, mask.shape[0]))
    widths = np.diff(np.append(column_starts, mask.shape[1]))
    density: FloatArray = (sums / np.outer(heights, widths)).astype(np.float32)
    return density


def mask_figure(mask: npt.NDArray[np.bool_], title: str, gates: int) -> "Figure":
    """Draw a mask (out, in), white where pruned, with the borders of its gates."""
    from matplotlib.figure import Figure

    density = mask_density(mask)
    out, inputs = mask.shape
    figure = Figure(figsize=(4.5, 1.2 + 4.0 * min(3.0, out / inputs)), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    image = axes.imshow(
        density, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=(0, inputs, out, 0)
    )
    for border in range(1, gates):
        axes.axhline(border * out / gates, color="tab:red", linewidth=0.8)
    axes.set_title(title, fontsize=9)
    names = {3: "output (gates r, z, n)", 4: "output (gates i, f, g, o)"}
    axes.set(xlabel="input", ylabel=names.get(gates, "output"))
    figure.colorbar(image, label="share of weights kept", shrink=0.6)
    return figure


def spectrogram_figure(mels: Mapping[str, Matrix], title: str) -> "Figure":
    """Draw log-mel features (frames, 80), by name, above each other on the colour scale of the first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.1 * len(mels)), layout="constrained", dpi=110)
    first = next(iter(mels.values()))
    low, high = float(first.min()), float(first.max())
    for place, (name, mel) in enumerate(mels.items()):
        axes = figure.add_subplot(len(mels), 1, place + 1)
        extent = (0, len(mel) / 100, 0, mel.shape[1])
        image = axes.imshow(mel.T, origin="lower", aspect="auto", vmin=low, vmax=high, cmap="magma", extent=extent)
        axes.set(ylabel=f"{name}\nmel band", title=title if place == 0 else "")
    axes.set_xlabel("seconds")
    figure.colorbar(image, ax=figure.axes, label="ln magnitude", shrink=0.8)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG, atomically and without a time stamp, so that equal data give equal bytes."""
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def draw(trial: "Trial", arm: "Arm", rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Draw every mask, and a spectrogram of every clip kept as audio; return the pictures' paths by kind."""
    from bench.data.audio import read_wav
    from bench.data.features import log_mel

    spectrograms = []
    for row in rows:
        if row["audio"]:
            path = f"spectrograms/{Path(row['audio']).stem}.png"
            synthesis = log_mel(read_wav(trial.folder / row["audio"]))
            mels = {"recording": trial.recordings.mels[row["id"]], "synthesis": synthesis}
            save(spectrogram_figure(mels, str(row["id"])), trial.folder / path)
            spectrograms.append(path)
    return {**draw_masks(trial, arm), "spectrograms": spectrograms}


def draw_masks(trial: "Trial", arm: "Arm") -> dict[str, list[str]]:
    """Draw every mask and every snapshot, and keep them all in one file each; return the paths by kind."""
    masks = []
    for key, mask in arm.masks().items():
        matrix = arm.matrices()[key]
        path = f"masks/{matrix.name}.png"
        title = f"{matrix.name}, tile {arm.tiles[key]}, {1 - float(mask.float().mean()):.1%} pruned"
        save(mask_figure(mask.numpy(), title, matrix.gates), trial.folder / path)
        masks.append(path)
    if masks:  # the masks themselves, by state key: reports draw arms beside each other from them
        kept = {key: mask.numpy() for key, mask in arm.masks().items()}
        with atomic_path(trial.folder / "masks.npz") as partial, partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **kept)
        masks.append("masks.npz")
    return {"masks": masks, **draw_snapshots(trial, arm)}


def draw_snapshots(trial: "Trial", arm: "Arm") -> dict[str, list[str]]:
    """Copy the bits of the snapshots and, of an arm that was pruned, draw each; return the paths by kind."""
    with atomic_path(trial.folder / arm.snapshot_bits.name) as partial:
        shutil.copyfile(arm.snapshot_bits, partial)
    drawn = []
    if arm.tiles:
        with np.load(arm.snapshot_bits, allow_pickle=False) as stored:
            for key, facts in arm.snapshots["matrices"].items():
                for step, bits in zip(arm.snapshots["steps"], stored[key], strict=True):
                    kept = np.unpackbits(bits, count=np.prod(facts["shape"])).reshape(facts["shape"])
                    path = step_path(arm.matrices()[key].name, step)
                    save_map(kept.astype(np.bool_), facts["gates"], trial.folder / path)
                    drawn.append(path)
    return {"snapshots": [arm.snapshot_bits.name], STEPS: drawn}


STEPS = "masks_by_step"
"""Kind of the pictures of one matrix at one step; `step_path` names them, `step_of` reads the name."""


def step_path(matrix: str, step: int) -> str:
    """Return the path of a matrix's picture at a step, below a trial's folder."""
    return f"masks/steps/{matrix}@{step}.png"


def step_of(path: Path) -> tuple[str, int]:
    """Return the matrix and the step of a `step_path`."""
    matrix, _, step = path.stem.rpartition("@")
    return matrix, int(step)


def save_map(kept: npt.NDArray[np.bool_], gates: int, path: Path) -> None:
    """Write a heat map without axes, gates apart, a small matrix enlarged; atomically."""
    from matplotlib import colormaps
    from matplotlib.image import imsave

    parts = [colormaps["Blues"](mask_density(gate, MAX_CELLS // 2)) for gate in np.split(kept, gates)]
    times = max(1, MAX_CELLS // max(parts[0].shape[:2]))
    parts = [np.kron(part, np.ones((times, times, 1))) for part in parts]
    border = np.full((GAP, parts[0].shape[1], 4), (0.84, 0.15, 0.16, 1.0))
    picture = np.concatenate([row for part in parts for row in (part, border)][:-1])
    with atomic_path(path) as partial:
        imsave(partial, picture, format="png")
