"""Errors that a user can act on: one clear message, a meaningful exit code, no traceback."""

import difflib
import errno
from collections.abc import Iterable

_REMEDIES = {
    errno.ENOSPC: "free space there and run the same command again",
    errno.EDQUOT: "free space there and run the same command again",
    errno.EACCES: "change its permissions or name another place",
    errno.EPERM: "change its permissions or name another place",
    errno.EROFS: "name another place",
}


class LanewiseError(Exception):
    """Something failed; the message says what, what was expected and what to do (exit code 1)."""

    exit_code = 1


class UsageError(LanewiseError):
    """A command line, study file or configuration is wrong (exit code 2)."""

    exit_code = 2


def describe(error: OSError) -> str:
    """Return what the host refused, in words: the file, the reason and what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    place = f"{error.filename}: " if error.filename is not None else ""
    return f"{place}{reason}; {_REMEDIES.get(error.errno or 0, 'check the path')}"


def did_you_mean(word: object, allowed: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest of `allowed`, or an empty string."""
    near = difflib.get_close_matches(str(word), list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
