"""Random enhancers that tests share."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine.pack_enhancer import shapes

Tensors = dict[str, npt.NDArray[np.float32]]
SMALL: dict[str, Any] = {"cell": "lstm", "layers": 2, "hidden0": 40, "hidden1": 40, "fc": 36, "mels": 32}


def random_enhancer(rng: np.random.Generator, **sizes: Any) -> tuple[dict[str, Any], Tensors]:
    """(arch, tensors) as a model's `export` gives them; `sizes` replace those of `SMALL`."""
    dims = SMALL | sizes
    arch = {
        "cell": dims["cell"], "hidden": dims["hidden0"], "layers": dims["layers"], "fc": dims["fc"],
        "mels": dims["mels"], "n_fft": 256, "hop": 128, "low_hz": 50.0, "sample_rate_hz": 16000,
    } | {key: value for key, value in sizes.items() if key in ("n_fft", "hop", "low_hz")}  # fmt: skip
    tensors = {
        key: rng.normal(0, min(1.0, 2.0 * shape[-1] ** -0.5), shape).astype(np.float32)
        for key, shape in shapes(dims).items()
    }
    tensors["feature_mean"] = rng.uniform(-4, -2, dims["mels"]).astype(np.float32)
    tensors["feature_std"] = rng.uniform(0.5, 2.0, dims["mels"]).astype(np.float32)
    return arch, tensors


def noisy(rng: np.random.Generator, samples: int) -> npt.NDArray[np.float32]:
    """Noise whose loudness wanders, with a silence in it."""
    audio = rng.normal(0, 0.1, samples) * (1 + np.sin(np.arange(samples) / 700.0))
    audio[samples // 2 : samples // 2 + samples // 8] = 0.0
    return np.asarray(audio, dtype=np.float32)
