"""A slow, obviously right vocoder in double precision: what the engine is tested against.

Written from the model's equations alone; shares no code with the C++ core or with the packer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Levels = npt.NDArray[np.uint8]

LEVELS, SILENCE = 256, 128


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox 4x32-10 (Salmon et al., SC11) on Python integers."""
    mask = 0xFFFFFFFF
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (second >> 32) ^ c1 ^ k0, second & mask, (first >> 32) ^ c3 ^ k1, first & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c0, c1, c2, c3


def uniforms(seed: int, utterance: int, step: int, bands: int) -> Doubles:
    """One number in (0, 1) per band."""
    numbers = []
    for band in range(bands):
        counter = (step, band // 4, utterance & 0xFFFFFFFF, utterance >> 32)
        word = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))[band % 4]
        numbers.append(((word >> 8) + 0.5) * 2.0**-24)
    return np.array(numbers)


def mu_law(position: npt.ArrayLike) -> Doubles:
    """Value at a position of the companded axis; level i lies at i, the edge below it at i - 0.5."""
    y = np.asarray(position, dtype=np.float64) / 127.5 - 1.0
    return np.sign(y) * (256.0 ** np.abs(y) - 1.0) / 255.0


def sigmoid(x: Doubles) -> Doubles:
    """Logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


@dataclass
class Trace:
    """What a run gave: levels (steps, runs, bands) and how far each uniform number lay from the nearest edge of its
    cumulative distribution (same shape); the share of the state that the recurrent product read anew (steps, runs), and
    how far the nearest decision of a delta threshold or a skip gate lay from its edge (same shape)."""

    levels: Levels
    margins: Doubles
    moved: Doubles
    doubts: Doubles


class ReferenceVocoder:
    """The vocoder of `SubbandWaveRNN.export`'s (arch, tensors), weights already masked.

    With `delta` a delta network (arXiv 1612.05571): the recurrent product sees an element of the state as it was when
    it last lay further than this from what the product saw. With tensors `gru.skip` a network with skip gates (arXiv
    1708.06834): a run whose round(a) is 0 holds its state for that step. `dtype` float32 shows what rounding alone
    does: it rounds the network and its state, the distributions are double all the same.
    """

    def __init__(
        self,
        arch: Mapping[str, Any],
        tensors: Mapping[str, npt.NDArray[np.floating]],
        delta: float | None = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.arch = arch
        self.delta = delta
        self.t = {key: np.asarray(value, dtype=dtype) for key, value in tensors.items()}
        self.bands, _, self.embed = self.t["embed"].shape
        self.hidden = self.t["gru.w_hh"].shape[1]
        self.edges = (np.arange(1, LEVELS) - 0.5) / 127.5 - 1.0  # companded: the mixture lives there

    def conditioning(self, mel: npt.NDArray[np.floating]) -> Doubles:
        """Conditioning vectors (frames, C)."""
        normalised = (np.asarray(mel, dtype=self.t["mel_mean"].dtype) - self.t["mel_mean"]) / self.t["mel_std"]
        c1 = np.maximum(self._convolve("cond.conv1", normalised), 0.0)
        return c1 + np.maximum(self._convolve("cond.conv2", c1), 0.0)

    def _convolve(self, name: str, x: Doubles) -> Doubles:
        weight, bias = self.t[f"{name}.weight"], self.t[f"{name}.bias"]
        taps = weight.shape[2]
        left = taps - 1 if self.arch["causal"] else taps // 2
        out = np.tile(bias, (len(x), 1))
        for frame in range(len(x)):
            for tap in range(taps):
                source = frame + tap - left
                if 0 <= source < len(x):
                    out[frame] += weight[:, :, tap] @ x[source]
        return out

    def cumulative(self, h: Doubles, temperature: float = 1.0) -> Doubles:
        """P(level < k) for k = 1..255: (runs, bands, 255) from states (runs, hidden)."""
        f = np.maximum(h @ self.t["head.fc.weight"].T + self.t["head.fc.bias"], 0.0)
        p = f @ self.t["head.out.weight"].T + self.t["head.out.bias"]
        logits, means, log_scales = np.moveaxis(p.reshape(len(h), self.bands, 3, -1), 2, 0)
        weights = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
        weights /= weights.sum(axis=-1, keepdims=True)
        scales = np.exp(np.maximum(log_scales, -9.0)) * temperature
        z = (self.edges - means[..., None]) / scales[..., None]
        return np.asarray((weights[..., None] * sigmoid(z)).sum(axis=2))

    def run(
        self,
        mel: npt.NDArray[np.floating],
        seeds: list[int],
        utterance: int = 0,
        temperature: float = 1.0,
        steps: int | None = None,
        forced: Levels | None = None,
    ) -> Trace:
        """Sample once per seed, side by side; `forced` (steps, bands) is fed back instead of what was sampled."""
        t = self.t
        per_frame = int(self.arch["hop"]) // self.bands
        steps = len(mel) * per_frame if steps is None else steps
        conditioning = self.conditioning(mel)
        h = np.zeros((len(seeds), self.hidden), dtype=t["gru.w_hh"].dtype)
        seen, a_skip = h, np.ones(len(seeds))
        previous = np.full((len(seeds), self.bands), SILENCE)
        levels = np.zeros((steps, len(seeds), self.bands), dtype=np.uint8)
        margins = np.zeros((steps, len(seeds), self.bands))
        moved, doubts = np.ones((steps, len(seeds))), np.full((steps, len(seeds)), np.inf)
        for step in range(steps):
            open_ = a_skip > 0.5
            if self.delta is None:
                seen = h
            else:
                far = np.abs(h - seen)
                moved[step] = (far > self.delta).mean(axis=1)
                doubts[step] = np.abs(far - self.delta)[far > 0].min(initial=np.inf)
                seen = np.where((far > self.delta) & open_[:, None], h, seen)
            embedded = np.concatenate([t["embed"][b, previous[:, b]] for b in range(self.bands)], axis=1)
            a = embedded @ t["gru.w_embed"].T + t["gru.w_cond"] @ conditioning[step // per_frame] + t["gru.b_ih"]
            u = seen @ t["gru.w_hh"].T + t["gru.b_hh"]
            (a_r, a_z, a_n), (u_r, u_z, u_n) = np.split(a, 3, axis=1), np.split(u, 3, axis=1)
            r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
            h = np.where(open_[:, None], (1.0 - z) * np.tanh(a_n + r * u_n) + z * h, h)
            if "gru.skip.weight" in t:
                moved[step] *= open_
                doubts[step] = np.minimum(doubts[step], np.abs(a_skip - 0.5))
                d = sigmoid(h @ t["gru.skip.weight"] + t["gru.skip.bias"])
                a_skip = np.where(open_, d, a_skip + np.minimum(d, 1.0 - a_skip))
            cumulative = self.cumulative(h, temperature)
            u01 = np.stack([uniforms(seed, utterance, step, self.bands) for seed in seeds])
            levels[step] = (cumulative <= u01[..., None]).sum(axis=-1)
            margins[step] = np.abs(cumulative - u01[..., None]).min(axis=-1)
            previous = np.tile(forced[step], (len(seeds), 1)) if forced is not None else levels[step].astype(np.int64)
        return Trace(levels, margins, moved, doubts)

    def waveform(self, levels: Levels) -> Doubles:
        """Audio (steps * bands,) of levels (steps, bands): zero-stuffed, filtered, summed."""
        samples = mu_law(levels) * self.t["band_scale"]
        stuffed = np.zeros((self.bands, len(levels) * self.bands))
        stuffed[:, :: self.bands] = samples.T
        filtered = [np.convolve(x, h)[: len(x)] for x, h in zip(stuffed, self.t["pqmf.synthesis"], strict=True)]
        return np.asarray(np.sum(filtered, axis=0))
