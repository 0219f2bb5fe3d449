"""What the packer gets of an arm: units as a smaller dense model, a tile of one's own as its kernel's."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.config.matrices import unit_layers
from bench.engine.pack import PackInfo, pack_vocoder
from bench.models import checkpoint
from bench.models.wavernn import Arch, SubbandWaveRNN
from bench.sparsity import tile as tile_module
from bench.sparsity.groups import Groups, TileGroups
from bench.sparsity.masks import apply_masks_
from bench.sparsity.own import register_tile
from bench.sparsity.tile import UNIT, Tile
from bench.sparsity.units import UnitGroups
from bench.trial.learning import MASKS_FILE, MODEL_FILE, Arm

ARCH = Arch(hidden=32, embed=8, cond=16, head=16, mixtures=2)


def arm(folder: Path, groups: Groups, tile: Tile) -> Arm:
    """An arm pruned at once to half of its groups, as the cache keeps it."""
    torch.manual_seed(0)
    model = SubbandWaveRNN(ARCH)
    named = {key: model.get_parameter(key) for key in groups.keys}
    masks: dict[str, Tensor] = groups.expand(groups.keep(groups.scores(named), 0.5))
    apply_masks_(named, masks)
    checkpoint.save(folder / MODEL_FILE, model, {})
    save_file(masks, folder / MASKS_FILE)
    return Arm("key", folder, asdict(ARCH), dict.fromkeys(masks, tile.name), {}, None, {})


def packed(found: Arm, path: Path) -> PackInfo:
    model, tiles, masks = found.as_packed()
    return pack_vocoder(path, *model.export(), tiles, {key: mask.numpy() for key, mask in masks.items()})


def test_units_make_a_smaller_file(tmp_path: Path) -> None:
    shapes = {"gru.w_hh": (96, 32), "gru.w_embed": (96, 32), "gru.w_cond": (96, 16), "head.fc.weight": (16, 32)}
    found = arm(tmp_path, UnitGroups(shapes, unit_layers(32), ["gru.w_hh"]), UNIT)
    model, tiles, masks = found.as_packed()
    assert (model.arch.hidden, tiles, masks) == (23, {}, {})
    assert set(found.masks()) == set(shapes) <= set(found.matrices())
    info, whole = packed(found, tmp_path / "small.lwm"), pack_vocoder(tmp_path / "whole.lwm", *found.model().export())
    assert info.bytes < whole.bytes
    weights = 3 * 23 * (23 + 32 + 16 + 2) + 16 * 23
    assert whole.nonzeros - info.nonzeros == 3 * 32 * (32 + 32 + 16 + 2) + 16 * 32 - weights


def test_an_own_tile_runs_as_its_kernel(tmp_path: Path) -> None:
    def pairs(shape: tuple[int, int], gates: int) -> np.ndarray:
        """4x1 tiles, a column and the one half the matrix further on together."""
        i, j = np.indices(shape)
        return i // 4 * shape[1] + j % (shape[1] // 2)

    tile = register_tile("pairs", pairs, runs_as="4x1")
    try:
        found = arm(tmp_path, TileGroups({"gru.w_hh": (96, 32)}, tile, {"gru.w_hh": 3}), tile)
        assert found.as_packed().tiles == {"gru.w_hh": "4x1"}
        assert packed(found, tmp_path / "m.lwm").blocks["gru.w_hh"] == 24 * 16
    finally:
        del tile_module._NAMED["pairs"]


@pytest.mark.parametrize("tile", ["16x1", "1x8"])
def test_a_plain_tile_stays(tile: str, tmp_path: Path) -> None:
    groups = TileGroups({"gru.w_hh": (96, 32)}, Tile.parse(tile), {"gru.w_hh": 3})
    found = arm(tmp_path, groups, Tile.parse(tile))
    assert found.as_packed().tiles == {"gru.w_hh": tile}
    assert packed(found, tmp_path / "m.lwm").blocks["gru.w_hh"] == groups.n // 2
