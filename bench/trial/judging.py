"""What an arm is worth to the ear: NLL of clips, speech from the engine, scores of each utterance."""

import atexit
import hashlib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.audio import FloatArray, write_wav
from bench.errors import LanewiseError
from bench.progress import track
from bench.trial.context import Trial
from bench.trial.packing import MODEL
from bench.trial.record import UTTERANCE_METRICS

if TYPE_CHECKING:
    from bench.measure.sound.pool import SoundPool
    from bench.models.wavernn import SubbandWaveRNN

Rows = list[dict[str, Any]]

_pools: "dict[int, SoundPool]" = {}


def utterance_number(name: str) -> int:
    """Return the 63-bit counter of an utterance's random numbers: its own whatever else is synthesised."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def file_stem(name: str) -> str:
    """Return a clip's id as a file name: ids come from corpora, and must not lead out of the folder."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def nlls(trial: Trial, model: "SubbandWaveRNN", packed: Path, ids: Sequence[str]) -> dict[str, float]:
    """Return the teacher-forced NLL (bits per full-band sample) of each clip under `model` as it was packed.

    The engine gives the distributions, so that number format and kernels count.

    Raises
    ------
    LanewiseError
        One is not finite.
    """
    import torch

    from bench.engine import Vocoder
    from bench.models import mixture, quantiser

    engine, band_scale = Vocoder(packed, trial.isa), model.band_scale.numpy()
    found: dict[str, float] = {}
    for clip in trial.recordings.clips(ids, model.arch):
        levels = quantiser.encode(clip.bands / band_scale)
        parameters = torch.from_numpy(engine.parameters(clip.mel, levels)).double()
        bits = -float(mixture.log_prob(parameters, torch.from_numpy(levels)).mean()) / math.log(2)
        if not math.isfinite(bits):
            raise LanewiseError(f"the NLL of clip {clip.id} is {bits}: the trained model is broken; lower train.lr")
        found[clip.id] = bits
    return found


def valid_nll(trial: Trial, model: "SubbandWaveRNN") -> float:
    """Return the validation NLL of the model as it was packed, each clip weighted by its length."""
    found = nlls(trial, model, trial.folder / MODEL, trial.valid_ids)
    return float(np.average(list(found.values()), weights=[len(trial.recordings.mels[name]) for name in found]))


def synthesise(trial: Trial) -> dict[str, FloatArray]:
    """Synthesise the test clips with the engine; return audio (frames * 160,) by clip id."""
    from bench.engine import Vocoder

    engine = Vocoder(trial.folder / MODEL, trial.isa)
    seed, temperature = trial.config.seed.recover, trial.config.measure.temperature
    return {
        name: engine.synthesize(trial.recordings.mels[name], seed, utterance_number(name), temperature)
        for name in track(trial.test_ids, "synthesis", len(trial.test_ids))
    }


def skipped(trial: Trial) -> float:
    """Return the share of the recurrent matrix's columns that the delta threshold left out of that synthesis."""
    from bench.engine import Vocoder

    engine, mels = Vocoder(trial.folder / MODEL, trial.isa), trial.recordings.mels
    seed, temperature = trial.config.seed.recover, trial.config.measure.temperature
    shares = [engine.skipped(mels[name], None, seed, utterance_number(name), temperature) for name in trial.test_ids]
    return float(np.average(shares, weights=[len(mels[name]) for name in trial.test_ids]))


def score(trial: Trial, made: dict[str, FloatArray], test_nlls: dict[str, float]) -> Rows:
    """Score the synthesised clips against their recordings; keep the first few as audio.

    Returns
    -------
    list of dict
        The record's `utterances`: every score or None with a reason.
    """
    from bench.measure.sound.pool import Pair

    recordings = trial.recordings.audio(trial.test_ids)
    pairs = [Pair(name, recordings[name], made[name]) for name in trial.test_ids]
    names = trial.config.measure.metrics
    scored = {row.id: row for row in score_pool().score_many(pairs, names)} if names else {}
    rows: Rows = []
    for position, name in enumerate(trial.test_ids):
        reasons = dict(scored[name].reasons) if name in scored else {}
        scores = scored[name].scores if name in scored else {}
        row: dict[str, Any] = {"id": name, **dict.fromkeys(UTTERANCE_METRICS), **scores}
        row["nll_bits"] = test_nlls.get(name)
        row["audio"] = None
        if position < trial.config.measure.audio_clips:
            row["audio"] = _keep(trial, name, made[name], reasons)
        for metric in UTTERANCE_METRICS:
            if row[metric] is None:
                reasons.setdefault(metric, "not among measure.metrics")
        row["reasons"] = reasons
        rows.append(row)
    return rows


def _keep(trial: Trial, name: str, audio: FloatArray, reasons: dict[str, str]) -> str | None:
    """Write one clip below `audio/`; return its path in the trial's folder."""
    peak = float(np.abs(audio).max())
    if not np.isfinite(peak):
        reasons["audio"] = "the synthesised audio has NaN or infinite samples"
        return None
    if peak > 1:
        reasons["audio"] = f"kept {20 * np.log10(peak):.1f} dB softer: its peak is {peak:.3f} of full scale"
        audio = audio / np.float32(peak)
    path = f"audio/{file_stem(name)}.wav"
    write_wav(trial.folder / path, np.clip(audio, -1, 1))
    return path


def score_pool() -> "SoundPool":
    """Return this process's scoring workers, kept from trial to trial (their libraries take seconds to load)."""
    from bench.measure.sound.pool import SoundPool

    if os.getpid() not in _pools:
        pool = SoundPool()
        atexit.register(pool.close)
        _pools[os.getpid()] = pool
    return _pools[os.getpid()]
