"""What Arm's own compiler for Ethos-U says of an enhancer: bytes of its encoded weights, estimated time of a frame.

ethos-u-vela compresses the stream of weights without loss and estimates cycles; it skips no multiplication, whatever
the pattern of the zeros. So a pruned network gains where reading weights is the limit (weights in flash) and nothing
where multiplying is (all in SRAM): both are given, and both belong beside a smaller dense network.
"""

import csv
import importlib.metadata
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.errors import LanewiseError
from bench.measure.tflite import EXTRA, products, tflite
from bench.models.quantised import QuantisedEnhancer

ACCELERATOR = "ethos-u55-128"
SYSTEM = "Ethos_U55_High_End_Embedded"
"""Of the configurations that come with the compiler: 500 MHz, SRAM 4 GB/s, flash 0.5 GB/s."""
_FLASH, _SRAM = "Shared_Sram", "Sram_Only"
_PADDED = 1.01
"""The compiler pads layers of odd sizes; it counts what it pads."""


@dataclass(frozen=True)
class VelaEstimate:
    """Estimates of the products of one frame (see `bench.measure.tflite`) on `ACCELERATOR` in `SYSTEM`.

    Attributes
    ----------
    weight_bytes
        Encoded matrices, without biases and scales.
    flash_cycles, flash_us
        Weights in flash.
    sram_cycles, sram_us
        Weights in SRAM.
    """

    weight_bytes: int
    flash_cycles: int
    flash_us: float
    sram_cycles: int
    sram_us: float


def version() -> str | None:
    """Version of the compiler that is installed, None without one."""
    try:
        return importlib.metadata.version("ethos-u-vela")
    except importlib.metadata.PackageNotFoundError:
        return None


def vela_estimate(model: QuantisedEnhancer) -> VelaEstimate:
    """Compile the products of one frame, once with the weights in flash and once with all in SRAM.

    Raises
    ------
    LanewiseError
        The extra `vela` is not installed, or the compiler fails or leaves weights to the CPU.
    """
    if importlib.util.find_spec("ethosu") is None:
        raise LanewiseError(f"no estimate by Arm's compiler: ethos-u-vela is missing; {EXTRA}")
    layers = products(model)
    weights = sum(layer.integers.size for layer in layers)
    with TemporaryDirectory(prefix="lanewise-vela-") as folder:
        network = Path(folder) / "frame.tflite"
        network.write_bytes(tflite(layers))
        flash, sram = (_compile(network, memory, weights) for memory in (_FLASH, _SRAM))
    return VelaEstimate(
        int(flash["total_npu_encoded_weights"]),
        *(int(flash["cycles_total"]), 1e6 * float(flash["inference_time"])),
        *(int(sram["cycles_total"]), 1e6 * float(sram["inference_time"])),
    )


def _compile(network: Path, memory: str, weights: int) -> dict[str, str]:
    """Return the compiler's summary: one row of a table."""
    out = network.with_name(memory)
    options = ["--accelerator-config", ACCELERATOR, "--system-config", SYSTEM, "--memory-mode", memory]
    words = [sys.executable, "-m", "ethosu.vela", str(network), "--output-dir", str(out), *options]
    done = subprocess.run([*words, "--config", "Arm/vela.ini"], capture_output=True, text=True, cwd=network.parent)
    summary = out / f"{network.stem}_summary_{SYSTEM}.csv"
    if done.returncode or not summary.is_file():
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise LanewiseError(f"ethos-u-vela failed (exit code {done.returncode}) on {memory}; it said: {said}")
    with summary.open(newline="") as file:
        (row,) = csv.DictReader(file)
    if not weights <= int(row["total_original_weights"]) <= _PADDED * weights:
        raise LanewiseError(
            f"ethos-u-vela took {row['total_original_weights']} of the model's {weights} weights, so that its "
            f"estimate is not of the whole; version 5.2.0 takes all"
        )
    return row
