"""Entropy coding of a sparse int8 matrix: where its weights are as a quadtree, what they are as a tree of bits.

Each yes-or-no decision has a context, each context a probability counted beforehand and stored in the header (16 bits),
and a range coder writes the decisions (that of LZMA, with these fixed probabilities). The quadtree says of ever smaller
squares whether they hold a weight; a square's context is its size, which of its parent's four it is, and how many of
those before it hold one. So empty rows, columns and blocks cost next to nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int8Matrix = NDArray[np.int8]
_LEVELS = 24
_OCCUPANCY = _LEVELS * 16
"""Contexts of the quadtree: size, place among four, how many before it are occupied."""
_CONTEXTS = _OCCUPANCY + 256
_ALWAYS_1, _ALWAYS_0 = 0, 65535
"""Stored probabilities of contexts that decide the same way each time; they cost no bits."""
_RANGE_BITS, _PROBABILITY_BITS, _TOP = 32, 16, 1 << 24


@dataclass(frozen=True)
class _Decisions:
    """Yes-or-no decisions in order: context and bit of each."""

    contexts: NDArray[np.int64]
    bits: NDArray[np.int64]

    def counts(self) -> NDArray[np.int64]:
        """(contexts, 2): how often each context decided for 0 and for 1."""
        flat = np.bincount(2 * self.contexts + self.bits, minlength=2 * _CONTEXTS)
        return flat.reshape(_CONTEXTS, 2)


def _top_level(shape: tuple[int, int]) -> int:
    return max(max(shape) - 1, 0).bit_length()


def _children(nodes: NDArray[np.int64], shape: tuple[int, int], level: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Place 0..3 of each child of `nodes` (n, 2), with a mask of those that lie inside the matrix."""
    side = 1 << level
    for place in range(4):
        rows, cols = 2 * nodes[:, 0] + place // 2, 2 * nodes[:, 1] + place % 2
        yield place, (rows * side < shape[0]) & (cols * side < shape[1])


def _occupancy(kept: NDArray[np.bool_]) -> _Decisions:
    """Walk the quadtree level by level; a parent's last child inside is not coded where it must be the occupied one."""
    shape = (kept.shape[0], kept.shape[1])
    top = _top_level(shape)
    pyramid = [np.pad(kept, ((0, (1 << top) - shape[0]), (0, (1 << top) - shape[1])))]
    for _ in range(top):
        last = pyramid[-1]
        pyramid.append(last[::2, ::2] | last[1::2, ::2] | last[::2, 1::2] | last[1::2, 1::2])
    contexts, bits = [np.array([(_LEVELS - 1) * 16])], [pyramid[top].reshape(-1).astype(np.int64)]
    nodes = np.argwhere(pyramid[top])
    for level in range(top - 1, -1, -1):
        inside = np.stack([mask for _, mask in _children(nodes, shape, level)], axis=1)
        grid = pyramid[level]
        occupied = np.stack(
            [grid[2 * nodes[:, 0] + place // 2, 2 * nodes[:, 1] + place % 2] for place in range(4)], axis=1
        )
        before: NDArray[np.int64] = np.cumsum(occupied, axis=1) - occupied
        left = np.cumsum(inside[:, ::-1], axis=1)[:, ::-1]  # children inside from here on
        coded = inside & ~((before == 0) & (left == 1))
        contexts.append((level * 16 + np.arange(4) * 4 + before)[coded])
        bits.append(occupied[coded].astype(np.int64))
        where = np.argwhere(occupied)
        nodes = 2 * nodes[where[:, 0]] + np.stack([where[:, 1] // 2, where[:, 1] % 2], axis=1)
    return _Decisions(np.concatenate(contexts), np.concatenate(bits))


def _values(matrix: Int8Matrix) -> _Decisions:
    """Each kept weight as 8 decisions, highest bit first; a decision's context is the bits above it."""
    symbols = matrix[matrix != 0].view(np.uint8).astype(np.int64)
    places = np.arange(7, -1, -1)
    contexts = _OCCUPANCY + ((1 << (7 - places)) | (symbols[:, None] >> (places + 1)))
    return _Decisions(contexts.reshape(-1), ((symbols[:, None] >> places) & 1).reshape(-1))


def _decisions(matrix: Int8Matrix) -> _Decisions:
    where, what = _occupancy(matrix != 0), _values(matrix)
    return _Decisions(np.concatenate([where.contexts, what.contexts]), np.concatenate([where.bits, what.bits]))


def entropy_bound_bytes(matrix: Int8Matrix) -> int:
    """Entropy of the decisions under the best fixed probability of each context: no such coder can store less."""
    counts = _decisions(matrix).counts().astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where(counts > 0, counts * np.log2(total / counts), 0.0)
    return int(np.floor(bits.sum() / 8))


def encode_entropy(matrix: Int8Matrix) -> bytes:
    """Header (which contexts occur, their probabilities) and the range-coded decisions."""
    decisions = _decisions(matrix)
    counts = decisions.counts()
    used = counts.sum(axis=1) > 0
    share = counts[used, 0] / counts[used].sum(axis=1)
    stored = np.clip(np.rint(share * 65536), _ALWAYS_1 + 1, _ALWAYS_0 - 1).astype(np.uint16)
    stored[counts[used, 1] == 0] = _ALWAYS_0
    stored[counts[used, 0] == 0] = _ALWAYS_1
    probabilities = np.zeros(_CONTEXTS, np.int64)
    probabilities[used] = stored
    header: bytes = np.packbits(used).tobytes() + stored.astype("<u2").tobytes()
    p = probabilities[decisions.contexts]
    open_ = (p != _ALWAYS_0) & (p != _ALWAYS_1)
    return header + _range_encode(p[open_].tolist(), decisions.bits[open_].tolist())


def decode_entropy(data: bytes, shape: tuple[int, int]) -> Int8Matrix:
    """Undo `encode_entropy`."""
    at = _CONTEXTS // 8
    used = np.unpackbits(np.frombuffer(data[:at], np.uint8)).astype(bool)
    end = at + 2 * int(used.sum())
    probabilities = np.zeros(_CONTEXTS, np.int64)
    probabilities[used] = np.frombuffer(data[at:end], "<u2")
    decide = _RangeDecoder(data[end:], probabilities.tolist()).decide
    nodes = [(0, 0)] if decide((_LEVELS - 1) * 16) else []
    for level in range(_top_level(shape) - 1, -1, -1):
        found: list[tuple[int, int]] = []
        for row, col in nodes:
            inside = [
                p for p in range(4) if (2 * row + p // 2) << level < shape[0] and (2 * col + p % 2) << level < shape[1]
            ]
            before = 0
            for place in inside:
                if (before == 0 and place == inside[-1]) or decide(level * 16 + place * 4 + before):
                    before += 1
                    found.append((2 * row + place // 2, 2 * col + place % 2))
        nodes = found
    matrix = np.zeros(shape, np.int8)
    for row, col in sorted(nodes):
        symbol = 1
        for _ in range(8):
            symbol = 2 * symbol + decide(_OCCUPANCY + symbol)
        matrix[row, col] = np.uint8(symbol & 255).view(np.int8)
    return matrix


def _range_encode(probabilities: list[int], bits: list[int]) -> bytes:
    """Carry-propagating range coder (LZMA): each bit narrows [low, low + range) to its share."""
    low, width, cache, pending = 0, (1 << _RANGE_BITS) - 1, 0, 1
    out = bytearray()

    def shift() -> None:
        nonlocal low, cache, pending
        if low < 0xFF000000 or low >= 1 << _RANGE_BITS:
            carry = low >> _RANGE_BITS
            out.append((cache + carry) & 0xFF)
            out.extend(((0xFF + carry) & 0xFF,) * (pending - 1))
            pending, cache = 0, (low >> 24) & 0xFF
        pending += 1
        low = (low << 8) & 0xFFFFFFFF

    for probability, bit in zip(probabilities, bits, strict=True):
        bound = (width >> _PROBABILITY_BITS) * probability
        if bit:
            low += bound
            width -= bound
        else:
            width = bound
        while width < _TOP:
            width = (width << 8) & 0xFFFFFFFF
            shift()
    for _ in range(5):
        shift()
    return bytes(out[1:])  # the first byte is always 0


class _RangeDecoder:
    def __init__(self, data: bytes, probabilities: list[int]) -> None:
        self._data, self._probabilities = data + bytes(4), probabilities
        self._width, self._code, self._at = (1 << _RANGE_BITS) - 1, int.from_bytes(data[:4], "big"), 4

    def decide(self, context: int) -> int:
        probability = self._probabilities[context]
        if probability in (_ALWAYS_0, _ALWAYS_1):
            return int(probability == _ALWAYS_1)
        bound = (self._width >> _PROBABILITY_BITS) * probability
        bit = int(self._code >= bound)
        if bit:
            self._code -= bound
            self._width -= bound
        else:
            self._width = bound
        while self._width < _TOP:
            self._code = ((self._code << 8) | self._data[self._at]) & 0xFFFFFFFF
            self._width = (self._width << 8) & 0xFFFFFFFF
            self._at += 1
        return bit
