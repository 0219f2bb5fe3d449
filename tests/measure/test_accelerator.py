"""The file of assumptions: what ships, what a copy may change, and what wrong input says."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from bench.errors import LanewiseError
from bench.measure.accelerator import KEYS, SHIPPED, Accelerator, load
from bench.measure.encodings import ENCODINGS


def test_shipped_devices_differ_only_in_skipping_and_memory() -> None:
    devices = {device.name: device for device in load()}
    assert list(devices) == [
        "none-flash", "none-sram", "none-320k", "blocks-flash", "blocks-sram", "units-flash", "units-sram",
    ]  # fmt: skip
    same = {"clock_mhz", "array", "macs_per_cycle", "flash_bytes_per_cycle", "sram_bytes_per_cycle", "product_cycles"}
    for device in devices.values():
        assert device.model_dump(include=same) == devices["none-flash"].model_dump(include=same)
        assert device.name.startswith(device.skips)
        assert device.pass_cycles == 32
    assert devices["blocks-sram"].block == (16, 4)


def test_every_encoding_can_be_named() -> None:
    assert get_args(Accelerator.model_fields["weights"].annotation) == tuple(ENCODINGS)


def test_a_copy_can_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SHIPPED.read_text().replace("clock_mhz: 500 ", "clock_mhz: 200 "))
    assert {device.clock_mhz for device in load(path)} == {200}


FIELDS = {
    "skips": "blocks", "block": "16x4", "weights": "blocks", "clock_mhz": 200, "array": "16x8", "macs_per_cycle": 64,
    "flash_bytes_per_cycle": 0.5, "sram_bytes_per_cycle": 8, "sram_weight_bytes": 0, "overlap": True,
    "product_cycles": 1,
}  # fmt: skip


def test_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"npu": FIELDS}))
    (device,) = load(path)
    assert (device.name, device.array, device.block, device.pass_cycles) == ("npu", (16, 8), (16, 4), 2)
    assert set(FIELDS) == set(KEYS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"clock_mhz": 0}, "npu.clock_mhz: got 0, expected greater than 0"),
        ({"clock_mhz": float("inf")}, "npu.clock_mhz: got inf, expected a finite number"),
        ({"clock_mhz": "fast"}, "npu.clock_mhz: got 'fast', expected a valid number"),
        ({"macs_per_cycle": 2.5}, "npu.macs_per_cycle: got 2.5, expected a valid integer"),
        ({"macs_per_cycle": 48}, "npu.macs_per_cycle: got 48, expected a divisor of the 128 products of array 16x8"),
        ({"sram_weight_bytes": -1}, "npu.sram_weight_bytes: got -1, expected greater than or equal to 0"),
        ({"product_cycles": 0}, "npu.product_cycles: got 0, expected greater than or equal to 1"),
        ({"overlap": "yes"}, "npu.overlap: got 'yes', expected a valid boolean"),
        ({"skips": "block"}, "npu.skips: got 'block', expected one of none, blocks, units; did you mean 'blocks'?"),
        ({"skips": "none"}, "npu.block: got '16x4', expected no such key, since skips is none"),
        ({"skips": "none", "block": None}, "npu.weights: got 'blocks', expected dense, bitmap, relative or entropy"),
        ({"weights": "zip"}, "npu.weights: got 'zip', expected one of dense, bitmap, relative, blocks, entropy"),
        ({"block": "16"}, "npu.block: got '16', expected outputs x inputs such as 16x4"),
        ({"block": "0x4"}, "npu.block: got '0x4', expected outputs x inputs such as 16x4"),
        ({"block": "8x4"}, "npu.block: got '8x4', expected a multiple of the array's 16 outputs, such as 16x4"),
        ({"block": None}, "npu.block: missing; expected the block that is skipped, such as 16x4"),
        ({"array": 16}, "npu.array: got 16, expected outputs x inputs"),
        ({"array": None}, "npu.array: got None, expected outputs x inputs"),
        ({"clock_mz": 3}, "npu.clock_mz: unknown key; did you mean 'clock_mhz'? allowed here: array, block, clock_mhz"),
        ({"name": "other"}, "npu.name: unknown key"),
    ],
)
def test_a_wrong_value_is_named_with_file_key_and_what_is_expected(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"npu": FIELDS | changes}))
    with pytest.raises(LanewiseError) as caught:
        load(path)
    assert f"{path}:" in str(caught.value)
    assert says in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"npu": {key: value for key, value in FIELDS.items() if key != "array"}}))
    with pytest.raises(LanewiseError, match=r"npu\.array: missing; every device says it"):
        load(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no accelerator; expected a name with the keys skips, block, weights"),
        ("npu: 3\n", "npu: got 3, expected the keys skips"),
        ("My NPU: {skips: none}\n", "My NPU: expected a name of small letters, digits and single hyphens"),
        ("npu: {skips: none\n", "not valid YAML"),
        ("- npu\n", "expected a mapping"),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(LanewiseError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(LanewiseError, match=r"gone\.yaml: cannot be read .*give the path of a YAML file"):
        load(tmp_path / "gone.yaml")
