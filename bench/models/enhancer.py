"""Speech enhancer: a causal recurrent mask estimator on mel bands, frame by frame.

The network of TinyLSTMs (Fedorov, Stamenovic et al., Interspeech 2020, arXiv 2005.11138), which the sizes published in
"Weight, Block or Unit?" (arXiv 2111.02351) point to: 128 mel bands, two LSTMs of 256, two layers of 128, a sigmoid
mask; 968,960 parameters with one bias vector per recurrent layer and no normalisation layers. Those papers' front
end is not public; ours: magnitudes of a 512-point transform every 256 samples, slaney mel bands from 50 to 8000 Hz,
a logarithm.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.config.matrices import EnhancerShape
from bench.data.features import hz_to_mel, mel_to_hz

Cell = Literal["lstm", "gru"]
GATES: dict[str, int] = {"lstm": 4, "gru": 3}
State = tuple[Tensor, ...]
"""Recurrent state: h (batch, hidden) of each layer, then for an LSTM c of each layer."""

LOG_FLOOR = 1e-4
"""Added to magnitudes before the logarithm: about 20 dB below the quantisation noise of 16 bits in one band."""


@dataclass(frozen=True)
class EnhancerArch:
    """Sizes of an enhancer; stored in checkpoints."""

    cell: Cell = "lstm"
    hidden: int = 256
    layers: int = 2
    fc: int = 128
    mels: int = 128
    n_fft: int = 512
    hop: int = 256
    low_hz: float = 50.0
    sample_rate_hz: int = 16000
    kept: tuple[int, ...] | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each recurrent layer: `hidden`, or those that unit pruning `kept`."""
        return (self.hidden,) * self.layers if self.kept is None else self.kept

    @property
    def shape(self) -> EnhancerShape:
        """Its prunable matrices and hidden units, before any of them was pruned."""
        return EnhancerShape(self.cell, self.hidden, self.layers, self.fc, self.mels)

    @property
    def latency_ms(self) -> float:
        """Algorithmic latency: a sample leaves with the last window that covers it, `n_fft` samples after it came."""
        return 1e3 * self.n_fft / self.sample_rate_hz

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        total, width = 0, self.mels
        for hidden in self.widths:
            total += GATES[self.cell] * hidden * (width + hidden + 1)
            width = hidden
        return total + self.fc * (width + 1) + self.mels * (self.fc + 1)


def matrices(arch: EnhancerArch) -> dict[str, tuple[str, int]]:
    """Prunable matrices: public name -> (state-dict key, stacked gates)."""
    return {name: (matrix.state_key, matrix.gates) for name, matrix in arch.shape.matrices().items()}


MATRICES = matrices(EnhancerArch())
"""Of the default network."""


def mel_bands(arch: EnhancerArch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Analysis (mels, bins), whose rows sum to 1, and synthesis (bins, mels), which interpolates a mask between bands.

    Bins below `low_hz` get no mask: they are silenced. A bin outside the outermost centres takes the nearest band's.
    """
    bins_hz = np.fft.rfftfreq(arch.n_fft, 1.0 / arch.sample_rate_hz)
    top = float(hz_to_mel(arch.sample_rate_hz / 2))
    corners_hz = mel_to_hz(np.linspace(float(hz_to_mel(arch.low_hz)), top, arch.mels + 2))
    low, centre, high = corners_hz[:-2, None], corners_hz[1:-1, None], corners_hz[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)))
    analysis = triangles / triangles.sum(axis=1, keepdims=True)
    unit = np.eye(arch.mels)
    synthesis = np.stack([np.interp(bins_hz, centre[:, 0], row) for row in unit], axis=1)
    synthesis[bins_hz < arch.low_hz] = 0.0
    return analysis.astype(np.float32), synthesis.astype(np.float32)


class Recurrent(nn.Module):
    """One LSTM or GRU layer with a single bias vector; gates as torch.nn orders them (i, f, g, o or r, z, n).

    The GRU applies its reset gate after the recurrent product, which has no bias.
    """

    no_bias: Tensor

    def __init__(self, cell: Cell, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cell, self.hidden = cell, hidden
        rows, bound = GATES[cell] * hidden, hidden**-0.5
        self.w_ih = nn.Parameter(torch.empty(rows, inputs).uniform_(-bound, bound))
        self.w_hh = nn.Parameter(
            torch.cat([nn.init.orthogonal_(torch.empty(hidden, hidden)) for _ in range(GATES[cell])])
        )
        self.bias = nn.Parameter(torch.zeros(rows))
        if cell == "lstm":
            with torch.no_grad():  # forget gates start open
                self.bias[hidden : 2 * hidden] = 1.0
        self.register_buffer("no_bias", torch.zeros(rows), persistent=False)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """(batch, frames, inputs) and h (, c) to (batch, frames, hidden) and the state after the last frame."""
        weights = [self.w_ih, self.w_hh, self.bias, self.no_bias]
        initial = [part[None].contiguous() for part in state]
        options = (True, 1, 0.0, self.training, False, True)
        if self.cell == "lstm":
            out, h, c = torch.lstm(x, initial, weights, *options)
            return out, (h[0], c[0])
        out, h = torch.gru(x, initial[0], weights, *options)
        return out, (h[0],)


class Enhancer(nn.Module):
    """The enhancer.

    Notes
    -----
    Buffers `feature_mean`, `feature_std` (mels,) normalise the log-mel features; training sets them from its mixtures.
    """

    feature_mean: Tensor
    feature_std: Tensor
    window: Tensor
    to_mel: Tensor
    to_bins: Tensor

    def __init__(self, arch: EnhancerArch) -> None:
        super().__init__()
        self.arch = arch
        analysis, synthesis = mel_bands(arch)
        self.register_buffer("feature_mean", torch.zeros(arch.mels))
        self.register_buffer("feature_std", torch.ones(arch.mels))
        self.register_buffer("window", torch.hann_window(arch.n_fft).sqrt(), persistent=False)
        self.register_buffer("to_mel", torch.from_numpy(analysis.T.copy()), persistent=False)
        self.register_buffer("to_bins", torch.from_numpy(synthesis.T.copy()), persistent=False)
        fed = (arch.mels, *arch.widths[:-1])
        self.rnn = nn.ModuleList(
            Recurrent(arch.cell, inputs, hidden) for inputs, hidden in zip(fed, arch.widths, strict=True)
        )
        self.fc = nn.Linear(arch.widths[-1], arch.fc)
        self.mask = nn.Linear(arch.fc, arch.mels)

    def spectrum(self, audio: Tensor) -> Tensor:
        """(batch, n) to (batch, frames, bins) complex: frame f ends with sample (f + 1) * hop, zeros before the first.

        n is a whole number of hops.
        """
        arch = self.arch
        padded = F.pad(audio, (arch.n_fft - arch.hop, 0))
        spectrum: Tensor = torch.fft.rfft(padded.unfold(-1, arch.n_fft, arch.hop) * self.window)
        return spectrum

    def waveform(self, spectrum: Tensor) -> Tensor:
        """(batch, frames, bins) to (batch, frames * hop): overlap-add, aligned with the input of `spectrum`.

        The last `n_fft - hop` samples lack the windows that would follow; callers pad with as many zeros and cut.
        """
        arch = self.arch
        frames = torch.fft.irfft(spectrum, arch.n_fft) * self.window
        length = (frames.shape[1] - 1) * arch.hop + arch.n_fft
        folded = F.fold(frames.transpose(1, 2), (1, length), (1, arch.n_fft), stride=(1, arch.hop))[:, 0, 0]
        gain = arch.n_fft / (2 * arch.hop)  # squared sqrt-Hann windows add up to this
        return folded[:, arch.n_fft - arch.hop :] / gain

    def features(self, spectrum: Tensor) -> Tensor:
        """Normalised log-mel magnitudes (batch, frames, mels)."""
        logs = torch.log(spectrum.abs() @ self.to_mel + LOG_FLOOR)
        return (logs - self.feature_mean) / self.feature_std

    def zero_state(self, batch: int) -> State:
        """State before the first frame."""
        zeros = tuple(self.feature_mean.new_zeros(batch, hidden) for hidden in self.arch.widths)
        return zeros * (2 if self.arch.cell == "lstm" else 1)

    def band_mask(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Mask in 0..1 of each band (batch, frames, mels), and the state after the last frame."""
        outputs, after = self._layers(features, state)
        return self._mask(outputs[-1]), after

    def _layers(self, features: Tensor, state: State) -> tuple[list[Tensor], State]:
        """Outputs of the recurrent layers and of the first full one, and the state after the last frame."""
        outputs: list[Tensor] = [features]
        hs: list[Tensor] = []
        cs: list[Tensor] = []
        for layer, rnn in enumerate(self.rnn):
            assert isinstance(rnn, Recurrent)
            out, after = self._recur(rnn, outputs[-1], state[layer :: self.arch.layers], first=layer == 0)
            outputs.append(out)
            hs.append(after[0])
            cs += after[1:]
        return [*outputs[1:], F.relu(self._full(self.fc, outputs[-1]))], (*hs, *cs)

    def _recur(self, rnn: Recurrent, x: Tensor, state: State, first: bool) -> tuple[Tensor, State]:
        found: tuple[Tensor, State] = rnn(x, state)
        return found

    def _full(self, layer: nn.Linear, x: Tensor) -> Tensor:
        found: Tensor = layer(x)
        return found

    def _mask(self, hidden: Tensor) -> Tensor:
        return torch.sigmoid(self._full(self.mask, hidden))

    def inputs(self, audio: Tensor) -> dict[str, Tensor]:
        """What each prunable matrix meets over clips (batch, n) of whole hops: (batch * frames, in) by state key."""
        features = self.features(self.spectrum(audio))
        outputs, _ = self._layers(features, self.zero_state(len(audio)))
        fed = [features, *outputs]
        found = {}
        for layer, out in enumerate(outputs[:-1]):
            found[f"rnn.{layer}.w_ih"] = fed[layer]
            found[f"rnn.{layer}.w_hh"] = F.pad(out[:, :-1], (0, 0, 1, 0))  # the state before each frame
        found |= {"fc.weight": fed[-2], "mask.weight": fed[-1]}
        return {key: x.reshape(-1, x.shape[-1]) for key, x in found.items()}

    def forward(self, audio: Tensor) -> Tensor:
        """Enhance whole clips, (batch, n) to (batch, n), aligned with the input."""
        length = audio.shape[-1]
        tail = -length % self.arch.hop + self.arch.n_fft - self.arch.hop
        spectrum = self.spectrum(F.pad(audio, (0, tail)))
        mask, _ = self.band_mask(self.features(spectrum), self.zero_state(len(audio)))
        return self.waveform(spectrum * (mask @ self.to_bins))[:, :length]

    def export(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
        """Architecture and float32 arrays by state-dict key."""
        tensors = {key: value.detach().cpu().numpy().astype(np.float32) for key, value in self.state_dict().items()}
        return asdict(self.arch), tensors


class EnhancerStream:
    """Enhancement of one live signal: each call takes one hop and gives one hop, `latency_ms` later in all.

    Parameters
    ----------
    model
        Not changed.
    """

    def __init__(self, model: Enhancer) -> None:
        self._model = model
        arch = model.arch
        self._heard = torch.zeros(1, arch.n_fft)
        self._sum = torch.zeros(1, arch.n_fft)
        self._state = model.zero_state(1)

    @torch.no_grad()
    def push(self, hop: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take `hop` new samples; return the `hop` samples that are now complete (`n_fft - hop` older than those)."""
        model, arch = self._model, self._model.arch
        self._heard = torch.cat([self._heard[:, arch.hop :], torch.from_numpy(hop)[None]], dim=1)
        spectrum = torch.fft.rfft(self._heard * model.window)[:, None]
        mask, self._state = model.band_mask(model.features(spectrum), self._state)
        frame = torch.fft.irfft(spectrum * (mask @ model.to_bins), arch.n_fft)[:, 0] * model.window
        self._sum = self._sum + frame / (arch.n_fft / (2 * arch.hop))
        done = self._sum[0, : arch.hop].numpy().copy()
        self._sum = F.pad(self._sum[:, arch.hop :], (0, arch.hop))
        return done
