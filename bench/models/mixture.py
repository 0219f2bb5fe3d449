"""Mixture of logistics, discretised on the quantiser's grid: the output distribution of every band.

Chosen over two flat 256-way layers and over one binary decision per bit: see docs/models.md.
The mixture lives in the companded domain, where the quantiser's grid is uniform on -1..1, as in PixelCNN++ (Salimans
et al., ICLR 2017). In the linear domain the same mixture trained far worse (6.64 against 5.41 bit after 200 steps).
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.models import quantiser

MIN_LOG_SCALE = -9.0
"""Floor of a component's log scale: a sixtieth of a quantiser step."""


@cache
def _edges(device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(quantiser.companded_edges(), dtype=dtype, device=device)


def split(parameters: Tensor, bands: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split (..., bands * 3 * K) into mixture logits, means and floored log scales, each (..., bands, K)."""
    logits, means, log_scales = parameters.reshape(*parameters.shape[:-1], bands, 3, -1).unbind(-2)
    return logits, means, log_scales.clamp(min=MIN_LOG_SCALE)


def log_prob(parameters: Tensor, indices: Tensor) -> Tensor:
    """Return the natural log probability of each index.

    Exact for any distance from the means: with b > a the bin edges in units of the scale,
    sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), so nothing cancels.

    Parameters
    ----------
    parameters
        (..., bands * 3 * K).
    indices
        (..., bands), 0..255.

    Returns
    -------
    Tensor
        (..., bands).
    """
    logits, means, log_scales = split(parameters, indices.shape[-1])
    edges = _edges(parameters.device, parameters.dtype)
    index = indices.long()[..., None]
    lower, upper = edges[(index - 1).clamp(min=0)], edges[index.clamp(max=254)]
    inverse_scale = torch.exp(-log_scales)
    a, b = (lower - means) * inverse_scale, (upper - means) * inverse_scale
    first, last = index == 0, index == 255
    zero = torch.zeros((), device=parameters.device, dtype=parameters.dtype)
    upper_tail = torch.where(last, zero, F.logsigmoid(b))
    lower_tail = torch.where(first, zero, F.logsigmoid(-a))
    width = torch.where(first | last, torch.ones_like(upper), upper - lower) * inverse_scale
    inside = torch.where(first | last, zero, torch.log(-torch.expm1(-width)))
    return torch.logsumexp(F.log_softmax(logits, dim=-1) + upper_tail + lower_tail + inside, dim=-1)


def log_probs(parameters: Tensor, bands: int) -> Tensor:
    """Return the natural log probability of every level, (..., bands, 256).

    As `log_prob`, with what levels share done once: neighbours have an edge in common, inner ones are of equal width.
    """
    logits, means, log_scales = split(parameters, bands)
    inverse_scale = torch.exp(-log_scales)
    z = (_edges(parameters.device, parameters.dtype) - means[..., None]) * inverse_scale[..., None]
    below = F.logsigmoid(z)
    upper_tail, lower_tail = F.pad(below, (0, 1)), F.pad(below - z, (1, 0))
    inside = torch.log(-torch.expm1(-inverse_scale / 127.5))[..., None].expand(*z.shape[:-1], quantiser.LEVELS - 2)
    weights = F.log_softmax(logits, dim=-1)[..., None]
    return torch.logsumexp(weights + upper_tail + lower_tail + F.pad(inside, (1, 1)), dim=-2)


def kl_divergence(wanted: Tensor, parameters: Tensor, bands: int) -> Tensor:
    """Return KL(wanted || given) of two mixtures in nats, exact over all levels: (..., bands)."""
    log_wanted = log_probs(wanted, bands)
    return (log_wanted.exp() * (log_wanted - log_probs(parameters, bands))).sum(-1)


def cdf(parameters: Tensor, bands: int, temperature: float = 1.0) -> Tensor:
    """Return P(index <= k - 1) at the 255 inner edges: (..., bands, 255), increasing along the last axis."""
    logits, means, log_scales = split(parameters, bands)
    weights = torch.softmax(logits / temperature, dim=-1)
    inverse_scale = torch.exp(-log_scales) / temperature
    edges = _edges(parameters.device, parameters.dtype)
    z = (edges - means[..., None]) * inverse_scale[..., None]
    return (weights[..., None] * torch.sigmoid(z)).sum(-2)
