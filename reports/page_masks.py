"""The page's masks over training: one bit a weight as PNG images, which a browser decodes by itself."""

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.analysis import Analysis
from reports.histories import History, has_history, histories

BUDGET_BYTES = 6_000_000
"""Of encoded images; arms beyond it are left out, as are those beyond `histories.MOST_ARMS`."""


def arms(analysis: Analysis) -> tuple[list[dict[str, Any]], list[str]]:
    """What the page needs of each arm's matrix, and the arms that have snapshots but no place."""
    shown: list[dict[str, Any]] = []
    used = 0
    for history in histories(analysis):
        images = [png(kept) for kept in history.kept]
        size = sum(map(len, images))
        if used + size > BUDGET_BYTES:
            continue
        used += size
        shown.append(_arm(history, images))
    told = {matrix["arm"] for matrix in shown}
    return shown, [arm for arm in analysis.arms if arm not in told and has_history(analysis, arm)]


def _arm(history: History, images: list[bytes]) -> dict[str, Any]:
    out, inputs = history.kept.shape[1:]
    places, gates = range(len(history.steps)), range(len(history.gates))
    return {
        "arm": history.arm,
        "matrix": history.matrix,
        "gates": history.gates,
        "rows": out // len(history.gates),
        "cols": inputs,
        "tile": history.tile,
        "tileRows": history.tile_rows,
        "tileCols": history.tile_cols,
        "steps": history.steps,
        "kept": [[round(float(history.of_gate(place, gate).mean()), 4) for gate in gates] for place in places],
        "images": [base64.b64encode(image).decode("ascii") for image in images],
        "limit": history.limit,
        "zeros": history.zeros,
        "counts": history.counts.tolist(),
    }


def png(kept: NDArray[np.bool_]) -> bytes:
    """A black and transparent image, one pixel a weight (PNG, RFC 2083: palette of two, one bit a pixel)."""
    rows, columns = kept.shape
    lines = np.packbits(kept, axis=1)
    above = np.zeros_like(lines)
    above[1:] = lines[:-1]
    # Filter 2, the difference to the line above: rows of one tile are alike, and zeros are what deflate likes best.
    filtered = np.concatenate([np.full((rows, 1), 2, np.uint8), lines - above], axis=1)
    header = struct.pack(">2I5B", columns, rows, 1, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", bytes(6)),
        (b"tRNS", b"\x00\xff"),
        (b"IDAT", zlib.compress(filtered.tobytes(), 9)),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in (*chunks, (b"IEND", b"")))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
