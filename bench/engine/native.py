"""The compiled core, or one clear message when it is missing."""

from bench.errors import LanewiseError

try:
    import bench.engine._core as core
except ImportError as error:
    raise LanewiseError(
        f"the compiled engine cannot be loaded ({error}); install Lanewise with a C++20 compiler at hand: pip install ."
    ) from error

__all__ = ["core"]
