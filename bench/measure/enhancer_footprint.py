"""What an enhancer takes on a small device: weights stored in each encoding, and memory while it runs."""

from dataclasses import dataclass

from bench.measure.encodings import stored_bytes
from bench.models.enhancer import EnhancerArch, matrices
from bench.models.quantised import QuantisedEnhancer
from bench.sparsity.tile import Tile

F32_BYTES = 4
_SCALE_BYTES, _BIAS_BYTES = 4, 4


@dataclass(frozen=True)
class StoredSize:
    """Bytes of a whole model in one int8 encoding.

    Attributes
    ----------
    matrices
        Encoded matrices.
    vectors
        Scales and biases, which no encoding shrinks.
    """

    matrices: int
    vectors: int

    @property
    def total(self) -> int:
        """Bytes as stored."""
        return self.matrices + self.vectors


def dense_f32_bytes(arch: EnhancerArch) -> int:
    """Bytes of every parameter in float32: what a compression is measured against."""
    return F32_BYTES * arch.parameters


def enhancer_footprint(model: QuantisedEnhancer, tiles: dict[str, Tile]) -> dict[str, StoredSize]:
    """Sizes by encoding (see `bench.measure.encodings.stored_bytes`).

    Parameters
    ----------
    model
        Its pruned weights are exact zeros.
    tiles
        Of the block encoding, by public matrix name; single weights where a name is missing.
    """
    gates = {name: count for name, (_, count) in matrices(model.arch).items()}
    stored = model.stored()
    biases = model.arch.parameters - sum(integers.size for integers, _ in stored.values())
    scales = sum(scale.size for _, scale in stored.values())
    vectors = _BIAS_BYTES * biases + _SCALE_BYTES * scales
    total: dict[str, int] = {}
    for name, (integers, _) in stored.items():
        for encoding, size in stored_bytes(integers, tiles.get(name, Tile(1, 1)), gates[name]).items():
            total[encoding] = total.get(encoding, 0) + size
    return {encoding: StoredSize(size, vectors) for encoding, size in total.items()}


def peak_activation_bytes(arch: EnhancerArch, activation_bytes: int = 1, state_bytes: int = 4) -> int:
    """Most memory for numbers that are not weights, frame by frame, buffers reused as soon as they are free.

    Always there: the recurrent state (h in the activations' width, an LSTM's c in `state_bytes`), the last window of
    input and the sum of output (16 bits a sample), the frame's spectrum (complex, 16 bits each), which waits for the
    mask. On top, the layer that needs most: its input, its accumulators (32 bits a row) and its output.
    """
    per_unit = activation_bytes + (state_bytes if arch.cell == "lstm" else 0)
    kept = per_unit * sum(arch.widths)
    kept += 2 * arch.n_fft * 2 + (arch.n_fft // 2 + 1) * 4
    gates = 4 if arch.cell == "lstm" else 6  # of a GRU, both products are kept apart until its reset gate is known
    fed = (arch.mels, *arch.widths)
    layers = [(inputs, gates * units, units) for inputs, units in zip(fed, arch.widths, strict=False)]
    layers += [(fed[-1], arch.fc, arch.fc), (arch.fc, arch.mels, 2 * arch.mels)]
    return kept + max(inputs * activation_bytes + 4 * rows + out * activation_bytes for inputs, rows, out in layers)
