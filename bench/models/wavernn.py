"""Subband WaveRNN: log-mel frames to speech, one GRU step per sample of all bands.

The subband WaveRNN family of Kanagawa & Ijima (SLT 2022, arXiv 2211.00898); sizes, heads and conditioning here are our
own, the paper's are not public. Gates and biases follow torch.nn.GRU (reset applied after the recurrent product).
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.models import mixture, philox, quantiser
from bench.models.gru_op import gru, gru_step
from bench.models.pqmf import Pqmf
from bench.models.skip import SkipGate, skip_gru, updates


@dataclass(frozen=True)
class Arch:
    """Sizes of a subband WaveRNN; stored in checkpoints and in packed models."""

    hidden: int = 256
    embed: int = 32
    cond: int = 128
    head: int = 128
    mixtures: int = 4
    bands: int = 4
    mels: int = 80
    sample_rate_hz: int = 16000
    hop: int = 160
    causal: bool = False

    @property
    def steps_per_frame(self) -> int:
        """GRU steps per mel frame."""
        return self.hop // self.bands

    @property
    def context(self) -> tuple[int, int]:
        """Frames that the conditioning sees before and after each frame; the second is its look-ahead."""
        return (6, 0) if self.causal else (3, 3)


MATRICES: dict[str, tuple[str, int]] = {
    "gru.recurrent": ("gru.w_hh", 3),
    "gru.cond": ("gru.w_cond", 3),
    "gru.embed": ("gru.w_embed", 3),
    "head.fc": ("head.fc.weight", 1),
    "head.out": ("head.out.weight", 1),
}
"""Prunable matrices: public name -> (state-dict key, stacked gates)."""


class State(NamedTuple):
    """What a recurrence carries from one step to the next.

    Attributes
    ----------
    h
        (batch, hidden).
    a
        (batch,): of a network with skip gates what decides whether the next step updates h (`bench.models.skip`).
    """

    h: Tensor
    a: Tensor | None


class _GruWeights(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        hidden, bound = arch.hidden, arch.hidden**-0.5
        self.w_embed = nn.Parameter(torch.empty(3 * hidden, arch.bands * arch.embed).uniform_(-bound, bound))
        self.w_cond = nn.Parameter(torch.empty(3 * hidden, arch.cond).uniform_(-bound, bound))
        self.w_hh = nn.Parameter(torch.cat([nn.init.orthogonal_(torch.empty(hidden, hidden)) for _ in range(3)]))
        self.b_ih = nn.Parameter(torch.zeros(3 * hidden))
        self.b_hh = nn.Parameter(torch.zeros(3 * hidden))
        self.skip: SkipGate | None = None


class _Conditioning(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(arch.mels, arch.cond, 5)
        self.conv2 = nn.Conv1d(arch.cond, arch.cond, 3)
        self.pad1, self.pad2 = ((4, 0), (2, 0)) if arch.causal else ((2, 2), (1, 1))

    def forward(self, normalised: Tensor, whole: bool) -> Tensor:
        """(batch, frames, mels) to (batch, frames, cond); a segment (not `whole`) loses its context frames."""
        x = normalised.transpose(1, 2)
        c1 = F.relu(self.conv1(F.pad(x, self.pad1) if whole else x))
        if whole:
            c1 = F.pad(c1, self.pad2)
        kept = c1[:, :, self.pad2[0] : c1.shape[2] - self.pad2[1]]
        return (kept + F.relu(self.conv2(c1))).transpose(1, 2)


class _Head(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.fc = nn.Linear(arch.hidden, arch.head)
        self.out = nn.Linear(arch.head, arch.bands * 3 * arch.mixtures)
        with torch.no_grad():  # start as components of the same place and different widths
            bias = self.out.bias.view(arch.bands, 3, arch.mixtures)
            bias[:, :2] = 0.0
            bias[:, 2] = torch.linspace(-5.0, -2.0, arch.mixtures)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.out(F.relu(self.fc(h)))
        return out


def _smooth_embedding(bands: int, size: int) -> Tensor:
    """Start embeddings as smooth functions of the level, so that neighbouring levels begin as neighbours."""
    level = torch.arange(quantiser.LEVELS) / 127.5 - 1.0
    linear = torch.tensor(quantiser.centres(), dtype=torch.float32)
    waves = [torch.cos(torch.pi * k * (level + 1) / 2) for k in range(1, size - 1)]
    return torch.stack([linear, level, *waves][:size], dim=1).expand(bands, -1, -1).clone() * 0.5


class SubbandWaveRNN(nn.Module):
    """The vocoder.

    Parameters
    ----------
    arch
        Sizes.

    Notes
    -----
    Buffers `mel_mean`, `mel_std` (mels,) normalise the features and `band_scale` (bands,) each band; training sets
    them from its training clips (`set_scales`).
    """

    mel_mean: Tensor
    mel_std: Tensor
    band_scale: Tensor

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.arch = arch
        self.register_buffer("mel_mean", torch.zeros(arch.mels))
        self.register_buffer("mel_std", torch.ones(arch.mels))
        self.register_buffer("band_scale", torch.ones(arch.bands))
        self.cond = _Conditioning(arch)
        self.embed = nn.Parameter(_smooth_embedding(arch.bands, arch.embed))
        self.gru = _GruWeights(arch)
        self.head = _Head(arch)

    def set_scales(self, mel_mean: NDArray[Any], mel_std: NDArray[Any], band_scale: NDArray[Any]) -> None:
        """Set the feature and band normalisation (see `bench.learn.dataset.scales`)."""
        for buffer, value in ((self.mel_mean, mel_mean), (self.mel_std, mel_std), (self.band_scale, band_scale)):
            buffer.copy_(torch.as_tensor(np.asarray(value, dtype=np.float32)))

    def tables(self) -> Tensor:
        """Input product of every level of every band, (bands, 256, 3 * hidden); packed models store exactly this."""
        per_band = self.gru.w_embed.view(-1, self.arch.bands, self.arch.embed).permute(1, 2, 0)
        return torch.bmm(self.embed, per_band)

    def conditioning(self, mel: Tensor, whole: bool = True) -> Tensor:
        """Input product of each frame's conditioning, (batch, frames, 3 * hidden), input bias included.

        `mel` is (batch, frames, mels) of whole clips, whose ends are padded with zeros after normalisation, or of
        segments that carry `arch.context` more frames.
        """
        out: Tensor = F.linear(self.cond((mel - self.mel_mean) / self.mel_std, whole), self.gru.w_cond, self.gru.b_ih)
        return out

    def inputs(self, mel: Tensor, previous: Tensor) -> dict[str, Tensor]:
        """What each prunable matrix is multiplied with, teacher-forced, (n, in) by state-dict key.

        `mel` and `previous` are a batch of segments as in `forward`.
        """
        bands, start = previous.shape[2], self.start(len(mel))
        frames = self.cond((mel - self.mel_mean) / self.mel_std, whole=False)
        cond = F.linear(frames, self.gru.w_cond, self.gru.b_ih)
        states, _ = self.recur(previous, self.tables(), cond, start)
        before = torch.cat([start.h[:, None], states[:, :-1]], dim=1)
        embedded = torch.cat([self.embed[band][previous[:, :, band].long()] for band in range(bands)], dim=-1)
        found = {
            "gru.w_hh": before,
            "gru.w_cond": frames,
            "gru.w_embed": embedded,
            "head.fc.weight": states,
            "head.out.weight": F.relu(self.head.fc(states)),
        }
        if self.gru.skip is not None:  # a step that is skipped multiplies nothing
            updated = self.gru.skip.last_updates() > 0
            found |= {key: found[key][updated] for key in ("gru.w_hh", "gru.w_embed")}
        return {key: value.reshape(-1, value.shape[-1]) for key, value in found.items()}

    def start(self, batch: int) -> State:
        """Return the state before the first step."""
        zeros = self.band_scale.new_zeros(batch, self.arch.hidden)
        return State(zeros, None if self.gru.skip is None else zeros.new_ones(batch))

    def recur(self, previous: Tensor, tables: Tensor, cond: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the GRU, with skip gates if it has them.

        Parameters
        ----------
        previous, tables, cond
            As of `bench.models.gru_op.gru`.
        state
            Before the first step.

        Returns
        -------
        states, state
            (batch, steps, hidden), and what the next step goes on from.
        """
        weights = self.gru
        if weights.skip is None:
            states = gru(previous, tables, cond, weights.w_hh, weights.b_hh, state.h)
            return states, State(states[:, -1].contiguous(), None)
        assert state.a is not None, "a network with skip gates starts from `start`"
        states, a = skip_gru(previous, tables, cond, weights.w_hh, weights.b_hh, weights.skip, state.h, state.a)
        return states, State(states[:, -1], a)

    def forward(self, mel: Tensor, previous: Tensor, whole: bool = False) -> Tensor:
        """Teacher-forced distribution parameters.

        Parameters
        ----------
        mel
            As in `conditioning`.
        previous
            (batch, steps, bands) uint8: each step's previous indices.

        Returns
        -------
        Tensor
            (batch, steps, bands * 3 * mixtures), see `bench.models.mixture.split`.
        """
        states, _ = self.recur(previous, self.tables(), self.conditioning(mel, whole), self.start(len(mel)))
        parameters: Tensor = self.head(states)
        return parameters

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Quantised band samples (steps, bands) of whole frames of audio."""
        frames = len(audio) // self.arch.hop
        bands = Pqmf(self.arch.bands).analysis(audio[: frames * self.arch.hop])
        return quantiser.encode(bands / self.band_scale.numpy())

    def decode(self, indices: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Audio (steps * bands,) of quantised band samples."""
        return Pqmf(self.arch.bands).synthesis(quantiser.decode(indices) * self.band_scale.numpy())

    @torch.no_grad()
    def generate(
        self,
        mel: NDArray[np.float32],
        seed: int = 0,
        utterance: int = 0,
        temperature: float = 1.0,
        steps: int | None = None,
    ) -> NDArray[np.uint8]:
        """Sample freely, one step at a time (slow reference of the engine): (steps, bands) indices.

        A level is the number of inner edges whose cumulative probability does not exceed the step's uniform number,
        which depends on (seed, utterance, step, band) alone.
        """
        arch = self.arch
        cond = self.conditioning(torch.from_numpy(mel)[None])[0]
        total = len(mel) * arch.steps_per_frame if steps is None else steps
        uniforms = torch.from_numpy(philox.uniforms(seed, utterance, total, arch.bands))
        tables, h = self.tables(), torch.zeros(arch.hidden)
        gate, accumulated = self.gru.skip, torch.ones(())
        previous = torch.full((arch.bands,), quantiser.SILENCE)
        out = np.empty((total, arch.bands), dtype=np.uint8)
        for t in range(total):
            if gate is None or updates(accumulated):
                a = cond[t // arch.steps_per_frame] + tables[torch.arange(arch.bands), previous].sum(0)
                h = gru_step(a, self.gru.w_hh @ h + self.gru.b_hh, h)
            if gate is not None:
                accumulated = gate.accumulate(accumulated, h)
            previous = (mixture.cdf(self.head(h), arch.bands, temperature) <= uniforms[t][:, None]).sum(-1)
            out[t] = previous.numpy()
        return out

    def export(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
        """Architecture and float32 arrays, by state-dict key, that the packer needs (synthesis filters included)."""
        tensors = {key: value.detach().cpu().numpy().astype(np.float32) for key, value in self.state_dict().items()}
        tensors["pqmf.synthesis"] = Pqmf(self.arch.bands).synthesis_filters.astype(np.float32)
        return asdict(self.arch), tensors


def shift(indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each step's previous indices (steps, bands): the same sequence one step later, silence first."""
    return np.concatenate([np.full_like(indices[:1], quantiser.SILENCE), indices[:-1]])
