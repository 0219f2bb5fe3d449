"""Packed models as `mlflow.pyfunc` loads them: log-mel frames or noisy speech in, speech out."""

from typing import Any

import numpy as np

from bench.engine.enhancer import Enhancer
from bench.engine.layout import Floats
from bench.engine.vocoder import Vocoder, read_header


class Packed:
    """What `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, path: str) -> None:
        enhances = "n_fft" in read_header(path)["dims"]
        self._model: Vocoder | Enhancer = Enhancer(path) if enhances else Vocoder(path)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Floats:
        """Speech: float32 (frames * hop,) of log-mel frames (frames, mels), or (n,) of noisy samples (n,).

        Parameters
        ----------
        params
            Of a vocoder: `seed`, `utterance`, `temperature`, see `Vocoder.synthesize`.

        Raises
        ------
        LanewiseError
            The input has the wrong shape or is not finite.
        """
        given = np.ascontiguousarray(model_input, dtype=np.float32)
        if isinstance(self._model, Enhancer):
            return self._model.enhance(given)
        return self._model.synthesize(given, **(params or {}))


def _load_pyfunc(path: str) -> Packed:
    return Packed(path)
