# Written by nanobind.stubgen (see tests/engine/test_stub.py), then formatted.
# ruff: noqa: C408
from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray

def host_isas() -> list[str]: ...
def built_isas() -> list[str]: ...
def has_kernel(isa: str, layout: str, number: str, tile_rows: int, tile_cols: int) -> bool: ...
def checksum(arg: bytes, /) -> int: ...
def read_header(arg: str, /) -> str: ...
def check_dims(dims: str) -> None: ...
def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]: ...
def uniform(word: int) -> float: ...
def apply(
    function: str,
    x: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    isa: str,
) -> NDArray[numpy.float32]: ...
def add_chain_ns(n: int) -> float: ...
def read_ns(
    buffer: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)],
    reps: int,
    isa: str,
) -> float: ...
def peak(format: str, steps: int, isa: str) -> tuple[float, int]: ...

class MatVec:
    def __init__(
        self,
        isa: str,
        layout: str,
        number: str,
        tile_rows: int,
        tile_cols: int,
        rows: int,
        cols: int,
        gates: int,
        weights: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)],
        index: Annotated[NDArray[numpy.uint16], dict(shape=(None,), order="C", device="cpu", writable=False)],
        counts: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        scales: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    ) -> None: ...
    def run(
        self, x: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
    ) -> NDArray[numpy.float32]: ...
    def run_ns(
        self,
        x: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        reps: int,
    ) -> float: ...
    def read_ns(self, reps: int, isa: str) -> float: ...
    @property
    def bytes(self) -> int: ...

class Vocoder:
    def __init__(self, path: str, isa: str) -> None: ...
    @property
    def header(self) -> str: ...
    @property
    def isa(self) -> str: ...
    @property
    def table_bytes(self) -> int: ...
    @property
    def mel_mean(self) -> list[float]: ...
    @property
    def mel_std(self) -> list[float]: ...
    def synthesize(
        self,
        mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        seed: int,
        utterance: int,
        temperature: float,
    ) -> NDArray[numpy.float32]: ...
    def indices(
        self,
        mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        seed: int,
        utterance: int,
        temperature: float,
    ) -> NDArray[numpy.uint8]: ...
    def teacher_force(
        self,
        mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        indices: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        seed: int,
        utterance: int,
        temperature: float,
    ) -> NDArray[numpy.uint8]: ...
    def parameters(
        self,
        mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        indices: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    ) -> NDArray[numpy.float32]: ...
    def skipped(
        self,
        mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        indices: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu", writable=False)]
        | None,
        seed: int,
        utterance: int,
        temperature: float,
    ) -> float: ...
    def run_ns(
        self,
        mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        seed: int,
    ) -> float: ...
    def parts_ns(
        self,
        mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        seed: int,
    ) -> list[float]: ...

class Stream:
    def __init__(self, vocoder: Vocoder, seed: int, utterance: int, temperature: float) -> None: ...
    def push(
        self, mel: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)]
    ) -> int: ...
    def finish(self) -> None: ...
    def pull(self) -> NDArray[numpy.float32]: ...
    @property
    def skipped(self) -> float: ...

def check_enhancer_dims(dims: str) -> None: ...
def spectrum(
    x: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    window: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    isa: str,
) -> NDArray[numpy.float32]: ...
def resynthesis(
    bins: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    window: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    isa: str,
) -> NDArray[numpy.float32]: ...

class Enhancer:
    def __init__(self, path: str, isa: str) -> None: ...
    @property
    def header(self) -> str: ...
    @property
    def isa(self) -> str: ...
    def enhance(
        self, audio: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
    ) -> NDArray[numpy.float32]: ...
    def band_mask(
        self,
        features: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    ) -> NDArray[numpy.float32]: ...
    def run_ns(
        self, audio: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
    ) -> float: ...
    def parts_ns(
        self, audio: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
    ) -> list[float]: ...

class EnhancerStream:
    def __init__(self, enhancer: Enhancer) -> None: ...
    def push(
        self, hop: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
    ) -> NDArray[numpy.float32]: ...
