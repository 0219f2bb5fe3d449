"""Build the embedded noise set from its Debian packages: decode, mix down, resample, cut, write Opus and `noise.csv`.

The same packages give, with the same libopus, files that decode to the same samples; each file's bytes differ, since an
Ogg stream carries a random serial number.
"""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.data import noise_table
from bench.data.audio import FloatArray, read_wav
from bench.data.debian import package_files
from bench.data.features import SAMPLE_RATE_HZ
from bench.data.noise import FIELDS
from bench.data.prepare import decode_g722, pcm_sha256, reason_to_leave_out
from bench.data.resample import resample
from bench.errors import LanewiseError
from bench.progress import track

HIGH_PASS_HZ = 50.0
"""Where the speech band of G.722 begins: an offset below it would be inaudible noise that decides an SNR."""
PEAK = 0.5
COMPRESSION = 0.832
"""libsndfile's scale from 256 to 6 kbit/s a channel: 48 kbit/s, at which wide-band Opus is near transparent."""


@dataclass
class PreparedNoise:
    """What `prepare_noise` wrote."""

    root: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    def seconds(self) -> dict[tuple[str, str], float]:
        """Length by kind and split."""
        total: dict[tuple[str, str], float] = {}
        for row in self.rows:
            key = row["kind"], row["split"]
            total[key] = total.get(key, 0.0) + float(row["seconds"])
        return total


def prepare_noise(packages: list[Path], out: Path) -> PreparedNoise:
    """Write the noise set into `out`: `audio/<kind>/<id>.opus` and `noise.csv`; other files there stay.

    Parameters
    ----------
    packages
        The five `.deb` files, or the folders they were unpacked into, in any order.
    out
        Folder of the set.

    Raises
    ------
    LanewiseError
        A package or a recording in it is missing or damaged, or PyAV is not installed.
    """
    contents: dict[str, bytes] = {}
    for package in packages:
        contents |= package_files(package, ".g722", ".ogg", ".wav")
    done = PreparedNoise(out)
    jobs = [(source, _only(contents, source)) for source in noise_table.SOURCES]
    for source, path in track(jobs, "recordings", len(jobs)):
        audio = _decode(path, contents[path])
        start = round(source.start_s * SAMPLE_RATE_HZ) if source.start_s else 0
        audio = audio[start : start + round(source.seconds * SAMPLE_RATE_HZ)]
        _write(done, source.kind, source.id, source.split, "", f"{source.package}: {path}", audio)
    for voice in noise_table.VOICES:
        prompts = _prompts(voice, contents)
        for name, split in track(sorted(prompts.items()), voice.speaker, len(prompts)):
            path = f"{voice.folder}/{name}.g722"
            audio = _decode(path, _voice_file(contents, path))
            id_ = f"{voice.speaker}.{name.replace('/', '.')}"
            _write(done, "voice", id_, split, voice.speaker, f"{voice.package}: {path}", audio)
    done.rows.sort(key=lambda row: (row["kind"], row["id"]))
    with (out / "noise.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(done.rows)
    return done


def samples_sha256(path: Path) -> str:
    """Hash of what a recording decodes to, as 16-bit samples."""
    return pcm_sha256(np.clip(np.rint(read_wav(path) * 32768.0), -32768, 32767).astype(np.int16))


def _only(contents: dict[str, bytes], source: noise_table.Source) -> str:
    found = [path for path in contents if path.endswith(f"/{source.path}")]
    if not found:
        raise LanewiseError(
            f"no {source.path} in the packages given; add {source.package} "
            f"{noise_table.PACKAGES[source.package]} (`apt-get download {source.package}`)"
        )
    if len(found) > 1:
        raise LanewiseError(
            f"{source.path} is there {len(found)} times ({found[0]}, {found[1]}); give each package once"
        )
    return found[0]


def _voice_file(contents: dict[str, bytes], path: str) -> bytes:
    return next(data for name, data in contents.items() if f"/{name}".endswith(f"/{path}"))


def _prompts(voice: noise_table.Voice, contents: dict[str, bytes]) -> dict[str, str]:
    """Split by prompt name: evenly from all that are usable, up to the voice's seconds in each split."""
    marker = f"/{voice.folder}/"
    clips = {
        f"/{path}".split(marker, 1)[1].removesuffix(".g722"): data
        for path, data in contents.items()
        if marker in f"/{path}"
    }
    if not clips:
        raise LanewiseError(
            f"no {voice.folder}/*.g722 in the packages given; add {voice.package} "
            f"{noise_table.PACKAGES[voice.package]} (`apt-get download {voice.package}`)"
        )
    chosen: dict[str, str] = {}
    for split, wanted in voice.seconds.items():
        seconds = {
            name: 2 * len(data) / SAMPLE_RATE_HZ
            for name, data in sorted(clips.items())
            if noise_table.prompt_split(voice, name) == split
            and noise_table.SHORTEST_PROMPT_S <= 2 * len(data) / SAMPLE_RATE_HZ <= noise_table.LONGEST_PROMPT_S
            and reason_to_leave_out(name, decode_g722(data, name)) is None
        }
        share = min(1.0, wanted / sum(seconds.values()))
        for index, name in enumerate(seconds):
            if int((index + 1) * share) > int(index * share):
                chosen[name] = split
    return chosen


def _decode(path: str, data: bytes) -> FloatArray:
    """Mono samples at 16 kHz without what lies below the speech band, at a peak of `PEAK`."""
    import soundfile
    from scipy.signal import butter, sosfiltfilt

    if path.endswith(".g722"):
        audio: FloatArray = (decode_g722(data, path) / np.float32(32768.0)).astype(np.float32)
    else:
        try:
            samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise LanewiseError(f"{path}: cannot be decoded ({error}); download the package again") from error
        audio = resample(samples.mean(axis=1), rate_hz)
        sections = butter(4, HIGH_PASS_HZ, "highpass", fs=SAMPLE_RATE_HZ, output="sos")
        audio = sosfiltfilt(sections, audio).astype(np.float32)
    peak = float(np.abs(audio).max(initial=0.0))
    if peak == 0.0:
        raise LanewiseError(f"{path}: holds digital silence; download the package again")
    return audio * np.float32(PEAK / peak)


def _write(done: PreparedNoise, kind: str, id_: str, split: str, speaker: str, source: str, audio: FloatArray) -> None:
    import soundfile

    path = done.root / "audio" / kind / f"{id_}.opus"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), audio, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS", compression_level=COMPRESSION)
    done.rows.append(
        {
            "id": id_, "kind": kind, "split": split, "speaker": speaker,
            "seconds": f"{len(audio) / SAMPLE_RATE_HZ:.4f}", "sha256": samples_sha256(path), "source": source,
        }
    )  # fmt: skip
