"""URLs as they may be shown: without credentials."""

import re

_LOGIN = re.compile(r"(\w[\w+.-]*://)[^/@\s]+@")
_SECRET = re.compile(r"([?&;\s](?:password|passwd|token|secret)=)[^&\s]+", re.IGNORECASE)


def redact(text: str) -> str:
    """Return `text` without the user names and passwords of URLs in it, nor the passwords among their options."""
    return _SECRET.sub(r"\1***", _LOGIN.sub(r"\1***@", text))
