"""The stages of an enhancer's trial after its training: packed, judged on noisy speech, weighed, timed, drawn."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config.matrices import EnhancerShape
from bench.data.audio import FloatArray, read_wav, write_wav
from bench.data.mixtures import evenly
from bench.measure.sound.registry import packages
from bench.trial import packing, pictures
from bench.trial.context import Trial
from bench.trial.files import read_json, write_json
from bench.trial.judging import file_stem, score_pool
from bench.trial.record import ENHANCER_SCORES

if TYPE_CHECKING:
    from bench.data.mixtures import Pair
    from bench.models.enhancer import Enhancer, EnhancerArch
    from bench.trial.learning import Arm

Rows = list[dict[str, Any]]
Scored = tuple[dict[str, float | None], dict[str, str]]
"""Scores of a clip, and why one is missing."""

AUDIO = ("audio_noisy", "audio_clean", "audio")
"""Keys of a row under which its kept clips are."""
BOUND = "entropy_bound"
"""Of the sizes, the one that no encoding reaches."""
VELA = ("vela.bytes", "vela.flash_us", "vela.sram_us")
"""What Arm's compiler says, where it is installed."""
NOISY_FILE = "scores.json"
_PEAK = 0.99


def model_of(arm: "Arm") -> "Enhancer":
    """Load the trained enhancer; of tile `unit` the smaller one that is left."""
    from bench.models import checkpoint
    from bench.sparsity.shrink import shrink_enhancer
    from bench.sparsity.tile import UNIT
    from bench.trial.dense import MODEL_FILE

    model = checkpoint.load_enhancer(arm.folder / MODEL_FILE)[0]
    return shrink_enhancer(model, arm.masks()) if UNIT.name in arm.tiles.values() else model


def pack(trial: Trial, arm: "Arm") -> dict[str, Any]:
    """Write the packed model; return its footprint.

    Returns
    -------
    dict
        `bytes`, `nonzeros`, `sha256` and `sparsity` as `bench.trial.packing.pack` gives them, and `as_dense`: the state
        keys of pruned matrices that the engine has no kernel for and runs whole, zeros and all.
    """
    from bench.engine import table
    from bench.engine.pack_enhancer import pack_enhancer
    from bench.sparsity.tile import UNIT, Tile

    model, masks, fmt = model_of(arm), arm.masks(), trial.config.pack.format
    arch, tensors = model.export()
    wanted = {key: Tile.parse(tile).runs_as or tile for key, tile in arm.tiles.items() if tile != UNIT.name}
    tiles = {key: tile for key, tile in wanted.items() if table.can_run(tile, fmt)}
    path = trial.folder / packing.MODEL
    info = pack_enhancer(path, arch, tensors, tiles, {key: masks[key].numpy() for key in tiles}, fmt)
    as_dense = sorted(set(wanted) - set(tiles))
    found = packing.facts(trial, arm, path, info)
    zeros = sum(int((~masks[key]).sum()) for key in as_dense)
    return found | {"as_dense": as_dense, "nonzeros": found["nonzeros"] - zeros}


def test_pairs(trial: Trial) -> "list[Pair]":
    """Return the noisy test clips that are judged."""
    return evenly(trial.mixtures.test, trial.config.measure.test_clips)


def score(trial: Trial, arm: "Arm") -> Rows:
    """Enhance the test clips with the packed model and score them.

    Integer arithmetic that the engine does not have (one scale a matrix, static ranges) is judged in PyTorch.

    Returns
    -------
    list of dict
        The record's `utterances`.
    """
    pairs = test_pairs(trial)
    enhance = _enhancement(trial, arm)
    loaded = {pair.id: pair.load() for pair in pairs}
    made = {name: (noisy, clean, enhance(noisy)) for name, (noisy, clean) in loaded.items()}
    after = _scores(trial, {name: (clean, enhanced) for name, (_, clean, enhanced) in made.items()})
    before = _noisy_scores(trial, {name: (clean, noisy) for name, (noisy, clean, _) in made.items()})
    count = min(trial.config.measure.audio_clips, len(pairs))
    heard = {pairs[int(i)].id for i in np.linspace(0, len(pairs) - 1, count)} if count else set()
    rows: Rows = []
    for pair in pairs:
        row: dict[str, Any] = {"id": pair.id, "condition": pair.condition, "kind": pair.kind, "snr_db": pair.snr_db}
        row |= _compared(before[pair.id], after[pair.id])
        row |= _keep(trial, pair.id, made[pair.id]) if pair.id in heard else {"audio": None}
        rows.append(row)
    return rows


def in_engine(trial: Trial) -> bool:
    """Say whether the engine computes in the integers that the arm has learned; else the packed model is their twin."""
    quant = trial.config.quant
    return (quant.weights, quant.activations) == ("channel", "dynamic")


def _enhancement(trial: Trial, arm: "Arm") -> Callable[[FloatArray], FloatArray]:
    if in_engine(trial):
        from bench.engine.enhancer import Enhancer

        return Enhancer(trial.folder / packing.MODEL, trial.isa).enhance
    from bench.learn.enhancement import enhance

    return partial(enhance, model_of(arm))


def _scores(trial: Trial, clips: dict[str, tuple[FloatArray, FloatArray]]) -> dict[str, Scored]:
    """Score clips, (clean, degraded) by id: what was found, and why something was not."""
    from bench.measure.sound.pool import Pair

    names = trial.config.measure.metrics
    if not names:
        return {name: ({}, {}) for name in clips}
    jobs = [Pair(name, clean, degraded) for name, (clean, degraded) in clips.items()]
    return {row.id: (dict(row.scores), dict(row.reasons)) for row in score_pool().score_many(jobs, names)}


def _noisy_scores(trial: Trial, clips: dict[str, tuple[FloatArray, FloatArray]]) -> dict[str, Scored]:
    """Scores of the noisy clips themselves, which all arms share."""
    metrics = trial.config.measure.metrics
    inputs = {
        "data": trial.mixtures.content_hash,
        "ids": sorted(clips),
        "metrics": sorted(metrics),  # of those of our own code, packages says nothing
        "packages": packages(metrics),
        "version": 1,
    }

    def build(partial: Path, work: Path) -> None:
        write_json(partial / NOISY_FILE, _scores(trial, clips))

    found: dict[str, Scored] = read_json(trial.cache.fetch("noisy", inputs, build) / NOISY_FILE)
    return found


def _compared(before: Scored, after: Scored) -> dict[str, Any]:
    """Scores of one clip after, before and in between, and a reason for each that is missing."""
    row: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name in ENHANCER_SCORES:
        row[name], row[f"noisy.{name}"] = after[0].get(name), before[0].get(name)
        for key, (_, why) in ((name, after), (f"noisy.{name}", before)):
            if row[key] is None:
                reasons[key] = why.get(name, "not among measure.metrics")
        both = row[name] is not None and row[f"noisy.{name}"] is not None
        row[f"gain.{name}"] = row[name] - row[f"noisy.{name}"] if both else None
        if not both:
            reasons[f"gain.{name}"] = reasons.get(name) or reasons[f"noisy.{name}"]
    return row | {"reasons": reasons}


def _keep(trial: Trial, name: str, clips: tuple[FloatArray, FloatArray, FloatArray]) -> dict[str, str]:
    """Write a noisy, clean and enhanced clip below `audio/`, all softer alike where one would pass full scale."""
    peak = max(float(np.abs(audio).max()) for audio in clips)
    gain = np.float32(min(1.0, _PEAK / peak))
    kept = {}
    for key, suffix, audio in zip(AUDIO, (".noisy", ".clean", ""), clips, strict=True):
        kept[key] = f"audio/{file_stem(name)}{suffix}.wav"
        write_wav(trial.folder / kept[key], audio * gain)
    return kept


def whole_arch(trial: Trial, arm: "Arm") -> "EnhancerArch":
    """Return what sizes and speed-ups are over: the dense start of the arm or, of a small sister, that of the other."""
    from bench.config.checkpoints import architecture_of
    from bench.models.enhancer import EnhancerArch

    if trial.config.model.init != "shipped-small":
        return EnhancerArch(**arm.arch)
    shape = architecture_of("shipped", "enhancer")
    assert isinstance(shape, EnhancerShape)
    return EnhancerArch(shape.cell, shape.hidden, shape.depth, shape.fc, shape.mels)


def weigh(trial: Trial, arm: "Arm") -> dict[str, float]:
    """Return the metrics of an int8 arm that follow from its integers: stored bytes, memory, time on accelerators."""
    from bench.measure import accelerator
    from bench.measure.accelerator_cost import enhancer_cost
    from bench.measure.enhancer_footprint import dense_f32_bytes, enhancer_footprint, peak_activation_bytes
    from bench.models.quantised import QuantisedEnhancer
    from bench.sparsity.tile import UNIT, Tile

    model, dense = model_of(arm), whole_arch(trial, arm)
    found: dict[str, float] = {"size.f32_bytes": dense_f32_bytes(dense)}
    whole = isinstance(model, QuantisedEnhancer)
    found["size.activation_bytes"] = peak_activation_bytes(model.arch, 1 if whole else 4)
    if not isinstance(model, QuantisedEnhancer):
        return found
    names = {key: matrix.name for key, matrix in arm.matrices().items()}
    tiles = {names[key]: Tile.parse(tile) for key, tile in arm.tiles.items() if tile != UNIT.name}
    sizes = enhancer_footprint(model, tiles)
    found |= {f"size.{encoding}": size.total for encoding, size in sizes.items()}
    found["size.compression"] = found["size.f32_bytes"] / min(size.total for key, size in sizes.items() if key != BOUND)
    for device in accelerator.load():
        cost = enhancer_cost(device, model, dense)
        found |= {f"accel.{device.name}.us": cost.us, f"accel.{device.name}.speedup": cost.speedup}
    return found


def compiled(arm: "Arm") -> dict[str, float]:
    """Return what Arm's compiler for Ethos-U makes of an int8 arm.

    Raises
    ------
    LanewiseError
        The compiler is not installed, or refuses the network.
    """
    from bench.measure.vela import vela_estimate
    from bench.models.quantised import QuantisedEnhancer

    model = model_of(arm)
    assert isinstance(model, QuantisedEnhancer), "the arm is int8"
    found = vela_estimate(model)
    return dict(zip(VELA, (found.weight_bytes, found.flash_us, found.sram_us), strict=True))


def draw(trial: Trial, arm: "Arm", rows: Rows) -> dict[str, list[str]]:
    """Draw every mask, and clean, noisy and enhanced spectrograms of what is kept as audio; return the paths."""
    from bench.data.features import log_mel

    spectrograms = []
    for row in rows:
        if row["audio"]:
            path = f"spectrograms/{Path(row['audio']).stem}.png"
            files = {"noisy": row["audio_noisy"], "enhanced": row["audio"], "clean": row["audio_clean"]}
            mels = {name: log_mel(read_wav(trial.folder / file)) for name, file in files.items()}
            pictures.save(pictures.spectrogram_figure(mels, str(row["id"])), trial.folder / path)
            spectrograms.append(path)
    return {**pictures.draw_masks(trial, arm), "spectrograms": spectrograms}
