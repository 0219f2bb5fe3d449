"""The matrices that can be pruned: their names in a configuration and in a model, and the hidden units in them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Shape of a vocoder, as far as prunable matrices show it; defaults are those of a model trained here.

    `bench.models.wavernn.Arch` without torch, which would take seconds to import for the sake of a check.
    """

    hidden: int = 256
    head: int = 128
    mixtures: int = 4
    causal: bool = False
    embed: int = 32
    cond: int = 128
    bands: int = 4


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


def matrices(arch: Architecture) -> dict[str, Matrix]:
    """Return every prunable matrix of a vocoder, by name."""
    h = arch.hidden
    rows = [
        Matrix("gru.recurrent", "gru.w_hh", (3 * h, h), 3),
        Matrix("gru.cond", "gru.w_cond", (3 * h, arch.cond), 3),
        Matrix("gru.embed", "gru.w_embed", (3 * h, arch.bands * arch.embed), 3),
        Matrix("head.fc", "head.fc.weight", (arch.head, h), 1),
        Matrix("head.out", "head.out.weight", (arch.bands * 3 * arch.mixtures, arch.head), 1),
    ]
    return {row.name: row for row in rows}


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
