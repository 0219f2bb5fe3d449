"""Reference systems of a study: what gives its scores meaning, on the clips that its trials are judged on.

`recording` is each clip against itself, `copy-synthesis` the bands and their quantiser alone (no model can be better),
`griffin-lim` a reconstruction from the same mel frames without a model.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config.schema import TrialConfig
from bench.errors import LanewiseError
from bench.progress import Progress, say
from bench.trial.cache import stage_key
from bench.trial.files import read_json, write_json
from bench.trial.provenance import provenance
from bench.trial.record import UTTERANCE_METRICS
from studies.folder import StudyFolder

if TYPE_CHECKING:
    from bench.data.audio import FloatArray
    from bench.trial.corpus import Recordings

VERSION = 1
"""Raise it when the systems or their scoring change."""

_NO_NLL = "no model, hence no likelihood"


def ensure_references(config: TrialConfig, folder: StudyFolder) -> Path:
    """Write `references.json` unless it is there for the same recordings, checkpoint, clips and metrics' packages.

    A file that cannot be read is written again. Returns its path; of a study without sound metrics there is none, as
    reference systems have no likelihood.

    Parameters
    ----------
    config
        Any trial of the study: its corpus, test clips, metrics and band scales are used.
    folder
        The study's.
    """
    from bench.trial import corpus

    if not config.measure.metrics:
        return folder.references
    recordings = corpus.load(config.data.corpus, folder.cache)
    ids = recordings.ids("test", config.measure.test_clips)
    inputs = {
        "provenance": provenance(config),
        "ids": ids,
        "metrics": config.measure.metrics,
        "audio_clips": config.measure.audio_clips,
        "version": VERSION,
    }
    key = stage_key("references", inputs)
    if _kept_key(folder.references) == key:
        return folder.references
    say(f"scoring the reference systems on {len(ids)} test clips")
    systems = _synthesise(recordings, ids, _band_scale(config, recordings))
    rows = _score(recordings, systems, config, folder.root)
    write_json(folder.references, {"schema": 1, "key": key, "systems": rows})
    return folder.references


def _kept_key(path: Path) -> str | None:
    """Return what the file at hand was made from; None without a file, or with one that says nothing."""
    if not path.is_file():
        return None
    try:
        kept = read_json(path)
    except LanewiseError as error:
        say(f"{error}; it is made again")
        return None
    return kept.get("key") if isinstance(kept, dict) else None


def _band_scale(config: TrialConfig, recordings: "Recordings") -> "FloatArray":
    """Return the band scales (M,) of the study's models: the checkpoint's, or those that training takes from data."""
    if config.model.init not in ("dense", "scratch"):
        from bench.config.checkpoints import checkpoint_path
        from bench.models import checkpoint

        return np.asarray(checkpoint.load(checkpoint_path(config.model.init))[0].band_scale, np.float32)
    from bench.learn.dataset import scales
    from bench.models.wavernn import Arch

    return scales(recordings.clips(recordings.ids("train"), Arch())).band_scale


def _synthesise(
    recordings: "Recordings", ids: list[str], band_scale: "FloatArray"
) -> dict[str, dict[str, "FloatArray"]]:
    from bench.measure.sound.references import copy_synthesis, griffin_lim

    audio = recordings.audio(ids)
    made: dict[str, dict[str, FloatArray]] = {"recording": audio, "copy-synthesis": {}, "griffin-lim": {}}
    with Progress("reference systems", len(ids)) as progress:
        for name in ids:
            made["copy-synthesis"][name] = copy_synthesis(audio[name], band_scale)
            made["griffin-lim"][name] = griffin_lim(recordings.mels[name])
            progress.advance(note=name)
    return made


def _score(
    recordings: "Recordings", systems: dict[str, dict[str, "FloatArray"]], config: TrialConfig, root: Path
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each system, in the form of a record's `utterances`; keep the first clips as audio."""
    from bench.data.audio import write_wav
    from bench.measure.sound.pool import Pair, SoundPool

    rows: dict[str, list[dict[str, Any]]] = {}
    with SoundPool() as pool:
        for system, clips in systems.items():
            originals = recordings.audio(list(clips))
            pairs = [Pair(name, originals[name], audio[: len(originals[name])]) for name, audio in clips.items()]
            scored = pool.score_many(pairs, config.measure.metrics, label=f"scoring {system}")
            rows[system] = []
            for position, (pair, scores) in enumerate(zip(pairs, scored, strict=True)):
                reasons = {"nll_bits": _NO_NLL} | dict(scores.reasons)
                row: dict[str, Any] = {
                    "id": pair.id,
                    **dict.fromkeys(UTTERANCE_METRICS),
                    **scores.scores,
                    "audio": None,
                }
                if position < config.measure.audio_clips:
                    row["audio"] = f"references/{system}/{pair.id}.wav"
                    (root / row["audio"]).parent.mkdir(parents=True, exist_ok=True)
                    write_wav(root / row["audio"], np.clip(pair.degraded, -1, 1).astype(np.float32))
                for metric in UTTERANCE_METRICS:
                    if row[metric] is None:
                        reasons.setdefault(metric, "not among measure.metrics")
                rows[system].append({**row, "reasons": reasons})
    return rows
