"""Which recordings make up the embedded noise set, of which kind each is and in which split it lies.

A recording lies in one split as a whole; so does a voice in the test split, which nothing else hears. Two pairs of the
package are one recording at two levels (correlation above 0.97): `desert2/day` and `night`, `winter/wind` and
`winter_forest/wind`. One of each is kept. Two tracks of the package are by authors of another: `norsemen` (the author
of the validation track) and `romans` (taken from an album with terms of its own); both are left out.
"""

from dataclasses import dataclass

from bench.data import allison

GAME = "megaglest-data"
HOLD_MUSIC = "asterisk-moh-opsound-g722"


@dataclass(frozen=True)
class Source:
    """One stretch of one recording of a package: the first `seconds` from `start_s`, or what there is."""

    id: str
    kind: str
    split: str
    package: str
    path: str
    seconds: float
    start_s: float = 0.0


@dataclass(frozen=True)
class Voice:
    """A speaker: up to `seconds` of each split's prompts, taken evenly from all."""

    speaker: str
    package: str
    folder: str
    seconds: dict[str, float]


def _environment(split: str, *names: str) -> list[Source]:
    return [
        Source(name.split(".")[0].replace("/", "-"), "environment", split, GAME,
               f"tilesets/{name.replace('/', '/sounds/')}", 90.0)
        for name in names
    ]  # fmt: skip


def _music(split: str, package: str, seconds: float, **paths: str) -> list[Source]:
    return [Source(id_, "music", split, package, path, seconds, start_s=10.0) for id_, path in paths.items()]


SOURCES: tuple[Source, ...] = (
    *_environment(
        "train", "autumn/nightime.ogg", "autumn/rain.ogg", "autumn/sunny_day.ogg", "birch_forest/night.ogg",
        "dark_forest/day.ogg", "fernland/day.ogg", "fernland/night.ogg", "mediterran/desertday.ogg",
    ),
    *_environment("valid", "birch_forest/day.ogg", "dark_forest/night.ogg", "desert2/night.ogg", "desert2/rain.wav"),
    *_environment("test", "birch_forest/rain.ogg", "mediterran/night.ogg", "spring/day.ogg", "winter_forest/wind.ogg"),
    *_music("train", HOLD_MUSIC, 45.0, cold_day="macroform-cold_day.g722", robot_dity="macroform-robot_dity.g722",
            the_simplicity="macroform-the_simplicity.g722"),
    *_music("train", GAME, 45.0, magic="music/music_magic.ogg", tech="music/music_tech.ogg",
            indian="music/music_indian.ogg", egypt="music/asak-jadeflange.ogg"),
    *_music("valid", HOLD_MUSIC, 60.0, morning_coffee="manolo_camp-morning_coffee.g722"),
    *_music("test", HOLD_MUSIC, 120.0, system="reno_project-system.g722"),
    *_music("test", GAME, 60.0, persian="music/aminos-together_together.ogg"),
)  # fmt: skip
"""Rain, wind, insects and birds; music. The test music is by authors whom training does not hear."""

VOICES: tuple[Voice, ...] = (
    Voice("june", "asterisk-core-sounds-fr-g722", "fr_CA_f_June", {"train": 540.0, "valid": 90.0}),
    Voice("carlo", "asterisk-core-sounds-it-g722", "it_IT_m_Carlo", {"test": 210.0}),
    Voice("ivrvoice", "asterisk-core-sounds-ru-g722", "ru_RU_f_IvrvoiceRU", {"test": 210.0}),
)
"""French (woman), Italian (man), Russian (woman): the talkers of babble, and speakers that no training hears."""

LONGEST_PROMPT_S = 12.0
SHORTEST_PROMPT_S = 1.5

PACKAGES: dict[str, str] = {
    GAME: "3.13.0-3",
    HOLD_MUSIC: "2.03-1.1",
    **{voice.package: allison.PACKAGE_VERSION for voice in VOICES},
}
"""Debian packages and the versions from which the set was made."""


def prompt_split(voice: Voice, name: str) -> str | None:
    """Split of a prompt: for a voice of several splits that of the prompt's family (`bench.data.allison`)."""
    if len(voice.seconds) == 1:
        return next(iter(voice.seconds))
    split = allison.place(name).split
    return split if split in voice.seconds else None
