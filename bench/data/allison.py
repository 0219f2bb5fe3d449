"""Which clips of the Debian package make up the embedded corpus, and to which family and split each belongs.

A family gathers prompts that share wording; it lies in one split as a whole. The Debian file names alone do not
say it: `something-terribly-wrong` is `tt-somethingwrong` spoken again, `queue-less-than` is what `letters/ascii60`
says. The table was checked acoustically (`lanewise data check`, bench/data/wording.py).
"""

import re
from dataclasses import dataclass

PACKAGE = "asterisk-core-sounds-en-g722"
PACKAGE_VERSION = "1.6.1-1"
VOICE_FOLDER = "en_US_f_Allison"
MIN_SECONDS = 1.0

NOT_SPEECH = re.compile(r"silence/.*|beep|beeperr|(ascending|descending)-2tone|tt-monkeys")
"""Silence, tones and the sound of monkeys."""

SAME_TAKE = {"seconds": "queue-seconds"}
"""Clips that are another clip's recording over again (correlation 0.998): they would count one utterance twice."""

_FAMILIES: tuple[tuple[str, str, str], ...] = (
    ("vm", "train", r"dictate/forhelp"),
    ("letters", "train", r"queue-less-than"),
    ("dictate", "test", r"dictate/.*"),
    ("representatives", "test", r"queue-.*|second|tt-.*|something-terribly-wrong"),
    (
        "blacklist-and-limits",
        "test",
        r"enter-num-blacklist|entr-num-rmv-blklist|num-was-successfully|simul-call-limit-reached"
        r"|feature-not-avail-line|info-about-last-call|privacy-to-blacklist-last-caller",
    ),
    ("directory", "valid", r"dir-.*"),
    ("call-features", "valid", r"call-.*|speed-dial.*|do-not-disturb"),
)
"""(family, split, pattern of clip names); the first match holds. The two exceptions on top stand next to their doubles
`vm-helpexit` and `letters/ascii60`. Any other clip is for training, its family the first word of its name."""


@dataclass(frozen=True)
class Place:
    """Where a clip belongs."""

    family: str
    split: str


def place(name: str) -> Place:
    """Family and split of the clip `name` (path below the voice folder, without suffix)."""
    for family, split, pattern in _FAMILIES:
        if re.fullmatch(pattern, name):
            return Place(family, split)
    return Place(re.split(r"[-/]", name)[0].lower(), "train")


def clip_id(name: str) -> str:
    """Flat identifier of a clip: `letters/at` becomes `letters.at`."""
    return name.replace("/", ".")
