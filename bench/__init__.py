"""One trial of Lanewise: data, models, sparsity, learning, the engine and the measurement."""

__version__ = "0.1.0"
