"""Where the supported corpora come from and under which terms: what `lanewise data list` and `fetch` say."""

from dataclasses import dataclass

from bench.data.allison import PACKAGE, PACKAGE_VERSION
from bench.data.noise_table import PACKAGES


@dataclass(frozen=True)
class Source:
    """A corpus that Lanewise knows how to read."""

    name: str
    spec: str
    speech: str
    licence: str
    steps: tuple[str, ...]
    """How to get it, one step a line; commands start with `$ `."""


SOURCES: tuple[Source, ...] = (
    Source(
        "embedded",
        "embedded",
        "one English speaker (Allison Smith), 22 minutes, 16 kHz; in the repository",
        "CC-BY-SA-3.0",
        (
            "The corpus is in the repository; nothing needs fetching. To build it again from the Debian package:",
            f"$ apt-get download {PACKAGE}      # version {PACKAGE_VERSION}, 10.6 MB, on any Debian or Ubuntu",
            f"$ lanewise data prepare {PACKAGE}_{PACKAGE_VERSION}_all.deb --out allison",
        ),
    ),
    Source(
        "ljspeech",
        "ljspeech:PATH",
        "LJSpeech-1.1: one English speaker, 24 hours, 22.05 kHz",
        "public domain",
        (
            "Download LJSpeech-1.1.tar.bz2 (2.6 GB) from https://keithito.com/LJ-Speech-Dataset/ and unpack it:",
            "$ tar xjf LJSpeech-1.1.tar.bz2",
            "$ lanewise data prepare --resample LJSpeech-1.1 --out LJSpeech-1.1-16k",
            "$ lanewise data check ljspeech:LJSpeech-1.1-16k",
        ),
    ),
    Source(
        "jsut",
        "jsut:PATH",
        "JSUT 1.1: one Japanese speaker, 10 hours, 48 kHz",
        "audio for research, non-commercial and personal use; see its LICENCE.txt",
        (
            "Download jsut_ver1.1.zip (2.7 GB) from https://sites.google.com/site/shinnosuketakamichi/publication/jsut:",
            "$ unzip jsut_ver1.1.zip",
            "$ lanewise data prepare --resample jsut_ver1.1 --out jsut-16k",
            "$ lanewise data check jsut:jsut-16k",
        ),
    ),
    Source(
        "folder",
        "folder:PATH",
        "your own recordings of one voice: mono wav or flac files, split.csv (id,split) optional",
        "yours",
        (
            "Put mono wav or flac files into a folder; at another rate than 16 kHz, make a copy:",
            "$ lanewise data prepare --resample RECORDINGS --out recordings-16k",
            "$ lanewise data check folder:recordings-16k",
        ),
    ),
    Source(
        "noise",
        "--noise embedded",
        "noise for the enhancer: landscapes, music, three voices for babble; 37 minutes, 16 kHz; in the repository",
        "CC-BY-SA-3.0 and CC-BY-3.0",
        (
            "The noise set is in the repository; nothing needs fetching. To build it again from its Debian packages:",
            f"$ apt-get download {' '.join(PACKAGES)}",
            "$ lanewise data noise *.deb --out noise",
            "Your own: folders PATH/<kind>/*.wav (16 kHz, mono), then --noise folder:PATH.",
        ),
    ),
    Source(
        "voicebank",
        "voicebank:PATH",
        "VoiceBank-DEMAND for the enhancer: noisy and clean speech of 28 + 2 English speakers, 48 kHz",
        "CC-BY-4.0",
        (
            "Download {clean,noisy}_{trainset_28spk,testset}_wav.zip and logfiles.zip from",
            "https://datashare.ed.ac.uk/handle/10283/2791 and unpack them into one folder:",
            "$ lanewise data prepare --resample VoiceBank-DEMAND --out voicebank-16k",
            "$ lanewise train-enhancer mine.safetensors --corpus voicebank:voicebank-16k",
        ),
    ),
    Source(
        "dns",
        "dns:PATH",
        "DNS challenge for the enhancer: clean speech and noise to mix, a synthetic test set, 16 kHz",
        "several, most CC-BY-4.0; see its LICENSE and README",
        (
            "Get datasets/clean, datasets/noise and datasets/test_set/synthetic from",
            "https://github.com/microsoft/DNS-Challenge (Interspeech 2020), then name the folder that holds datasets/:",
            "$ lanewise train-enhancer mine.safetensors --corpus dns:DNS-Challenge",
        ),
    ),
)
