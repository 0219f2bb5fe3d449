"""The matrices that can be pruned: their names in a configuration and in a model, and the hidden units in them.

Shapes of `bench.models` without torch, which would take seconds to import for the sake of a check.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Matrix:
    """One prunable matrix.

    Attributes
    ----------
    name, state_key
        Its name in `prune.matrices` and in a model's state.
    shape
        (out, in) weights.
    gates
        Equal gates stacked in its rows.
    """

    name: str
    state_key: str
    shape: tuple[int, int]
    gates: int


@dataclass(frozen=True)
class Slice:
    """Where a layer's hidden units lie in one tensor of a model's state.

    Attributes
    ----------
    state_key
        The tensor: a matrix (out, in) or a bias (out,).
    axis
        0: a unit has a row (in every gate); 1: a column.
    gates
        Equal gates stacked along the axis.
    """

    state_key: str
    axis: int
    gates: int = 1


@dataclass(frozen=True)
class Layer:
    """A recurrent layer whose hidden units can be taken out, or put in another order, without a trace.

    Attributes
    ----------
    name
        Names it in errors.
    units
        How many there are.
    slices
        Everything that is theirs: rows of the layer's own matrices and biases, columns of the recurrent matrix and of
        whatever reads the state.
    """

    name: str
    units: int
    slices: tuple[Slice, ...]


def unit_layers(hidden: int) -> tuple[Layer, ...]:
    """Return the layers of a vocoder whose hidden units can be pruned: the GRU."""
    rows = ("gru.w_hh", "gru.w_embed", "gru.w_cond", "gru.b_ih", "gru.b_hh")
    columns = ("gru.w_hh", "head.fc.weight")
    return (Layer("gru", hidden, (*(Slice(key, 0, 3) for key in rows), *(Slice(key, 1) for key in columns))),)


@dataclass(frozen=True)
class VocoderShape:
    """Shape of a vocoder, as far as prunable matrices show it; defaults are those of a model trained here."""

    hidden: int = 256
    head: int = 128
    mixtures: int = 4
    causal: bool = False
    embed: int = 32
    cond: int = 128
    bands: int = 4

    def matrices(self) -> dict[str, Matrix]:
        """Return every prunable matrix, by name."""
        h = self.hidden
        rows = [
            Matrix("gru.recurrent", "gru.w_hh", (3 * h, h), 3),
            Matrix("gru.cond", "gru.w_cond", (3 * h, self.cond), 3),
            Matrix("gru.embed", "gru.w_embed", (3 * h, self.bands * self.embed), 3),
            Matrix("head.fc", "head.fc.weight", (self.head, h), 1),
            Matrix("head.out", "head.out.weight", (self.bands * 3 * self.mixtures, self.head), 1),
        ]
        return {row.name: row for row in rows}

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers whose hidden units can be pruned: the GRU."""
        return unit_layers(self.hidden)


@dataclass(frozen=True)
class EnhancerShape:
    """Shape of an enhancer, as far as prunable matrices show it; defaults are those of a model trained here."""

    cell: Literal["lstm", "gru"] = "lstm"
    hidden: int = 256
    depth: int = 2
    fc: int = 128
    mels: int = 128

    @property
    def gates(self) -> int:
        """Gates of a recurrent layer."""
        return 4 if self.cell == "lstm" else 3

    def matrices(self) -> dict[str, Matrix]:
        """Return every prunable matrix, by name."""
        rows, fed = [], self.mels
        for layer in range(self.depth):
            for name, key, inputs in (("input", "w_ih", fed), ("recurrent", "w_hh", self.hidden)):
                shape = (self.gates * self.hidden, inputs)
                rows.append(Matrix(f"rnn{layer + 1}.{name}", f"rnn.{layer}.{key}", shape, self.gates))
            fed = self.hidden
        rows.append(Matrix("fc.hidden", "fc.weight", (self.fc, fed), 1))
        rows.append(Matrix("fc.mask", "mask.weight", (self.mels, self.fc), 1))
        return {row.name: row for row in rows}

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers whose hidden units can be pruned: the recurrent ones, and the full one before the mask."""
        found = []
        for layer in range(self.depth):
            rows = [Slice(f"rnn.{layer}.{key}", 0, self.gates) for key in ("w_ih", "w_hh", "bias")]
            after = f"rnn.{layer + 1}.w_ih" if layer + 1 < self.depth else "fc.weight"
            columns = [Slice(key, 1) for key in (f"rnn.{layer}.w_hh", after)]
            found.append(Layer(f"rnn{layer + 1}", self.hidden, (*rows, *columns)))
        fc = (Slice("fc.weight", 0), Slice("fc.bias", 0), Slice("mask.weight", 1))
        return (*found, Layer("fc", self.fc, fc))


Shape = VocoderShape | EnhancerShape
"""Of a network of either task."""
