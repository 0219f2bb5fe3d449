"""Errors that a user can act on: one clear message, a meaningful exit code, no traceback."""


class LanewiseError(Exception):
    """Something failed; the message says what, what was expected and what to do (exit code 1)."""

    exit_code = 1


class UsageError(LanewiseError):
    """A command line, study file or configuration is wrong (exit code 2)."""

    exit_code = 2
