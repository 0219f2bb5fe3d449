"""Networks without some of their hidden units, or with them in another order: the same function."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bench.config.matrices import Layer, unit_layers
from bench.errors import UsageError
from bench.models.enhancer import Enhancer
from bench.models.quantised import QuantisedEnhancer
from bench.models.wavernn import SubbandWaveRNN
from bench.sparsity.units import UnitGroups


def take_units(state: Mapping[str, Tensor], layers: Sequence[Layer], taken: Sequence[Tensor]) -> dict[str, Tensor]:
    """Take the named units of each layer, in that order, in every tensor of a state that has slices of them.

    Parameters
    ----------
    state
        Tensors by state key.
    layers
        Whose units are taken.
    taken
        For each layer, int64 (k,): units.
    """
    found = dict(state)
    for layer, chosen in zip(layers, taken, strict=True):
        for item in layer.slices:
            tensor = found[item.state_key]
            gates = torch.arange(item.gates)[:, None] * layer.units
            found[item.state_key] = tensor.index_select(item.axis, (gates + chosen.cpu()).flatten().to(tensor.device))
    return found


def shrink(model: SubbandWaveRNN, kept: Tensor) -> SubbandWaveRNN:
    """Return the vocoder without the hidden units that are not kept, bool (hidden,).

    Where the units' columns are zero (pruned) it computes the same as the model.

    Raises
    ------
    UsageError
        If none is kept.
    """
    if not bool(kept.any()):
        raise UsageError("prune.sparsity: no hidden unit is left, and a network without any cannot be packed; lower it")
    return _taken(model, kept.nonzero().flatten())


def reorder(model: SubbandWaveRNN, order: Tensor) -> SubbandWaveRNN:
    """Return the vocoder whose unit i is the model's unit `order[i]`, int64 (hidden,): it computes the same."""
    return _taken(model, order)


def masked_units(masks: Mapping[str, Tensor]) -> Tensor:
    """Hidden units that the masks of a vocoder pruned by `unit` keep, bool (hidden,).

    Raises
    ------
    LanewiseError
        If they keep only a part of some unit.
    """
    shapes = {key: (int(mask.shape[0]), int(mask.shape[1])) for key, mask in masks.items()}
    hidden = shapes["gru.w_hh"][1]
    return UnitGroups(shapes, unit_layers(hidden), list(shapes)).reduce(masks)


def shrink_enhancer(model: Enhancer, masks: Mapping[str, Tensor]) -> Enhancer:
    """Return the enhancer, in its arithmetic, without the hidden units that masks made by `unit` pruned.

    In float32 it computes the same as the model. In int8 with dynamic activations a pruned unit, which still gives what
    its biases make of it, may have been the largest of its vector and have set the scale of the others: then they
    round otherwise.

    Raises
    ------
    UsageError
        If some layer has no unit left.
    LanewiseError
        If the masks keep only a part of some unit.
    """
    arch = model.arch
    layers = arch.shape.layers()
    shapes = {key: (int(mask.shape[0]), int(mask.shape[1])) for key, mask in masks.items()}
    groups = UnitGroups(shapes, layers, list(shapes))
    flags = groups.reduce(masks)
    kept = [flags[part].nonzero().flatten() for part in groups.parts]
    for layer, units in zip(layers, kept, strict=True):
        if not len(units):
            raise UsageError(f"prune.sparsity: no hidden unit of {layer.name} is left; lower it")
    *recurrent, full = (len(units) for units in kept)
    smaller = replace(arch, kept=tuple(recurrent), fc=full)
    quantisation = model.quantisation if isinstance(model, QuantisedEnhancer) else None
    other = Enhancer(smaller) if quantisation is None else QuantisedEnhancer(smaller, quantisation)
    other.load_state_dict(take_units(model.state_dict(), layers, kept))
    return other.to(model.feature_mean.device).train(model.training)


def _taken(model: SubbandWaveRNN, units: Tensor) -> SubbandWaveRNN:
    state = take_units(model.state_dict(), unit_layers(model.arch.hidden), [units])
    other = SubbandWaveRNN(replace(model.arch, hidden=len(units))).to(model.band_scale.device)
    other.load_state_dict(state)
    return other
