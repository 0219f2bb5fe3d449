"""Training losses of an enhancer, all scalars to minimise over waveforms (batch, n)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

POWER = 0.3
COMPLEX_SHARE = 0.113
"""Of the compressed spectral loss; a value that a third party's copy of the parent paper's network uses."""
_RESOLUTIONS = ((512, 256),)
_EPSILON = 1e-8


def si_sdr(clean: Tensor, enhanced: Tensor) -> Tensor:
    """Minus the scale-invariant signal-to-distortion ratio in dB (Le Roux et al., ICASSP 2019)."""
    scale = (clean * enhanced).sum(-1, keepdim=True) / (clean.square().sum(-1, keepdim=True) + _EPSILON)
    target = scale * clean
    return -_ratio_db(target, enhanced - target).mean()


def snr(clean: Tensor, enhanced: Tensor) -> Tensor:
    """Minus the signal-to-noise ratio in dB, which keeps the level."""
    return -_ratio_db(clean, enhanced - clean).mean()


def _ratio_db(signal: Tensor, noise: Tensor) -> Tensor:
    energy, rest = signal.square().sum(-1), noise.square().sum(-1)
    # the second term stops at 30 dB: a clip that is already clean does not outweigh the others
    return 10 * torch.log10((energy + _EPSILON) / (rest + 1e-3 * energy + _EPSILON))


def spectral(clean: Tensor, enhanced: Tensor) -> Tensor:
    """Squared distance of spectra compressed to a power of 0.3: of magnitudes, and a share of complex values."""
    total = clean.new_zeros(())
    scale = clean.square().mean(-1, keepdim=True).sqrt() + _EPSILON  # a quiet clip counts as much as a loud one
    for n_fft, hop in _RESOLUTIONS:
        window = torch.hann_window(n_fft, device=clean.device)
        wanted, got = (torch.stft(x / scale, n_fft, hop, window=window, return_complex=True) for x in (clean, enhanced))
        wanted_size, got_size = (torch.sqrt(x.real.square() + x.imag.square() + 1e-6) for x in (wanted, got))
        total = total + F.mse_loss(got_size**POWER, wanted_size**POWER)
        compressed = [x * size ** (POWER - 1) for x, size in ((wanted, wanted_size), (got, got_size))]
        total = total + COMPLEX_SHARE * (compressed[0] - compressed[1]).abs().square().mean()
    return total


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"si-sdr": si_sdr, "snr": snr, "spectral": spectral}
