"""Bad input of every kind: one clear error on stderr, the right exit code, no traceback, nothing on stdout."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.engine.pack import pack_vocoder
from tests.cli.conftest import Lanewise, Outcome
from tests.engine.models import ABSENT_ISA, random_model

RATE_HZ = 16000
SOUND = (0.1 * np.random.default_rng(0).standard_normal(RATE_HZ // 2)).astype(np.float32)


def refused(outcome: Outcome, code: int, *said: str) -> None:
    """Check what all errors have in common, and that each of `said` is in the message."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    for words in said:
        assert words in outcome.err


# Study files and trial configurations


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nnme: y\narms: {a: {}}", ("x.yaml:2: nme: unknown key; did you mean 'name'? allowed here: about",)),
        ("name: a b\narms: {a: {}}", ("x.yaml:1: name: got 'a b', expected a word",)),
        ("name: x\narms: {a: {}}\nmode: grid", ("x.yaml:3: mode: got 'grid', expected one of factorial",)),
        ("name: x\narms:\n  a: {prune.tle: 1x1}", ("x.yaml:3: prune.tle: unknown key; did you mean 'tile'?",)),
        ("name: x\narms:\n  a: {prune: {kind: magnitud}}", ("x.yaml:3: prune.kind: got 'magnitud'", "'magnitude'?")),
        ("name: x\nbase: {train.steps: many}\narms: {a: {}}", ("x.yaml:2: train.steps: got 'many'",)),
        ("name: x\nbase: {train.steps: 0}\narms: {a: {}}", ("x.yaml:2: train.steps: got 0",)),
        ("name: x\nbase: {train.steps: -5}\narms: {a: {}}", ("x.yaml:2: train.steps: got -5",)),
        (
            "name: x\nbase: {data.corpus: 'folder:nope'}\narms: {a: {}}",
            ("x.yaml:2: data.corpus: nope: no such folder",),
        ),
        ("name: x\nbase: {data.corpus: embeded}\narms: {a: {}}", ("x.yaml:2: data.corpus", "mean 'embedded'?")),
        ("name: x\nbase: {measure.speed: false}\narms: {a: {}}", ("x.yaml:2: measure.speed: got false", "speed.rtf")),
        ("name: x\nnam: y\nmode: z\ntrials: 0\narms: {a: {}}", ("3 problems", "x.yaml:2", "x.yaml:3", "x.yaml:4")),
        ("name: x\narms: {a: [", ("x.yaml:2: not valid YAML",)),
        ("name: x\n\tarms: 1", ("x.yaml:2: not valid YAML",)),
        ("name: x\nname: y", ("x.yaml:2: name: written twice, first on line 1",)),
        ("name: a\x00b", ("x.yaml:1: not text: character 8",)),
        ("name: !!python/object:os.system x", ("x.yaml:1: not valid YAML",)),
        ("- a", ("x.yaml:1: expected a mapping",)),
        ("", ("x.yaml: name: missing", "nothing to run")),
    ],
)
def test_study_file(lanewise: Lanewise, tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    (tmp_path / "x.yaml").write_text(text)
    refused(lanewise("sweep", "run", "x.yaml", "--dry-run"), 2, *said)
    assert not (tmp_path / "runs").exists()


def test_study_file_that_is_none(lanewise: Lanewise, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for command in (("sweep", "run"), ("trial",)):
        refused(lanewise(*command, "nothere.yaml"), 2, "nothere.yaml", "No such file")
        refused(lanewise(*command, "folder.yaml"), 2, "folder.yaml", "directory")
        refused(lanewise(*command, "bytes.yaml"), 2, "bytes.yaml: is not UTF-8 text")


PRUNED = ("prune.kind=magnitude", "prune.sparsity=0.7", "model.init=scratch")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("prune.tile=0x4", "'0x4' is empty; rows and columns must be at least 1"),  # which YAML 1.1 reads as 4
        ("prune.tile=16x0", "'16x0' is empty"),
        ("prune.tile=1000x1", "larger than one gate"),
        ("prune.tile=nonsense", "unknown name 'nonsense'"),
        ("prune.tile=[1,2]", "got [1, 2]"),
        ("prune.sparsity=1.2", "got 1.2, expected less than or equal to 1"),
        ("prune.sparsity=-0.1", "got -0.1, expected greater than or equal to 0"),
        ("prune.sparsity=high", "got 'high', expected a valid number"),
        ("prune.sparsity=.nan", "expected a finite number"),
        ("simd.width=0", "got 0, expected greater than or equal to 1"),
        ("simd.width=65", "got 65, expected less than or equal to 64"),
        (f"simd.isa={ABSENT_ISA}", f"this host cannot run '{ABSENT_ISA}'; it runs scalar"),
        ("train.steps=-1", "got -1, expected greater than or equal to 1"),
        ("measure.metrics=stio", "'stio'"),
        ("model.init=shiped", "did you mean 'shipped'?"),
        ("train=3", "expected a section of keys: steps"),
        ("a.b.c=1", "unknown key"),
    ],
)
def test_value_of_a_trial(lanewise: Lanewise, assignment: str, said: str) -> None:
    given = [word for pair in (*PRUNED, assignment) for word in ("--set", pair)]
    key = assignment.partition("=")[0]
    outcome = lanewise("trial", "--dry-run", *given)
    refused(outcome, 2, f"--set {assignment}: {key.split('.')[0]}", said)
    assert len(outcome.err.splitlines()) == 1


def test_width_that_no_kernel_has(lanewise: Lanewise) -> None:
    given = ("simd.width=5", "prune.tile=simd", "reg.kind=group_lasso", "pack.format=int8", *PRUNED)
    words = [word for pair in given for word in ("--set", pair)]
    refused(lanewise("trial", "--dry-run", *words), 2, "prune.tile: got '5x1'", "int8: 16x1")


def test_isa_of_the_environment_is_checked_before_anything_is_trained(
    lanewise: Lanewise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANEWISE_ISA", ABSENT_ISA)
    refused(
        lanewise("trial", "--dry-run", "--set", "model.init=scratch"),
        2,
        f"LANEWISE_ISA: this host cannot run '{ABSENT_ISA}'",
    )


# Recordings


def _write(path: Path, kind: str) -> Path:
    """Write a recording that is wrong in one way."""
    if kind == "text":
        path.write_text("hello, not audio\n")
    elif kind == "no bytes":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "cut short":
        soundfile.write(path, SOUND, RATE_HZ, subtype="PCM_16")
        path.write_bytes(path.read_bytes()[:6000])
    elif kind == "cut short flac":
        soundfile.write(path.with_suffix(".flac"), SOUND, RATE_HZ, subtype="PCM_16")
        path.write_bytes(path.with_suffix(".flac").read_bytes()[:6000])
        path.with_suffix(".flac").unlink()
    else:
        audio = {"stereo": np.stack([SOUND, SOUND], 1), "empty": SOUND[:0], "short": SOUND[:159]}.get(
            kind, SOUND.copy()
        )
        if kind in ("nan", "inf"):
            audio[7] = np.nan if kind == "nan" else np.inf
        soundfile.write(path, audio, 22050 if kind == "rate" else RATE_HZ, subtype="FLOAT")
    return path


BAD_SOUND = {
    "stereo": "has 2 channels, expected mono",
    "rate": "sample rate is 22050 Hz, expected 16000 Hz",
    "empty": "holds no samples",
    "nan": "1 of 8000 samples are NaN or infinite",
    "inf": "1 of 8000 samples are NaN or infinite",
    "short": "is 10 ms long (159 samples), expected at least 30 ms",
    "text": "cannot be read as audio",
    "no bytes": "cannot be read as audio",
    "folder": "is a folder, expected an audio file",
    "cut short": "is cut short or altered: its header promises 16000 bytes",
    "cut short flac": "bad.wav: ",
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed model."""
    path = tmp_path_factory.mktemp("packed") / "model.lwm"
    pack_vocoder(path, *random_model(np.random.default_rng(1), mels=80))
    return path


@pytest.mark.parametrize("kind", BAD_SOUND)
def test_recording(lanewise: Lanewise, tmp_path: Path, packed: Path, kind: str) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for clip in "abc":
        soundfile.write(folder / f"{clip}.wav", SOUND, RATE_HZ)
    bad = _write(folder / "bad.wav", kind)
    said = BAD_SOUND[kind]
    refused(lanewise("synth", packed, bad, "out.wav"), 1, "bad.wav: ", said)
    if kind != "folder":  # of which `score` takes two
        refused(lanewise("score", bad, bad), 1, "bad.wav: ", said)
    outcome = lanewise("data", "check", f"folder:{folder}")
    assert outcome.code == 1
    assert said in outcome.err
    train = lanewise("train", "x.safetensors", "--corpus", f"folder:{folder}", "--steps", 1, "--hidden", 8)
    refused(train, 1, "bad.wav: ", said)
    assert not (tmp_path / "out.wav").exists()
    assert not (tmp_path / "x.safetensors").exists()


def test_every_recording_that_does_not_fit_is_named(lanewise: Lanewise, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for position in range(12):
        _write(folder / f"{position:02d}.wav", "stereo" if position % 2 else "rate")
    outcome = lanewise("data", "check", f"folder:{folder}")
    refused(outcome, 1, "12 of 12 recordings", "00.wav: sample rate", "01.wav: has 2 channels", "and 2 more")


def test_corpus(lanewise: Lanewise, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(lanewise("data", "check", "folder:nope"), 1, "nope: no such folder")
    refused(lanewise("data", "check", "folder:empty"), 1, "empty: no recordings")
    refused(lanewise("data", "check", "embeded"), 2, "unknown corpus 'embeded'; did you mean 'embedded'?")
    soundfile.write(tmp_path / "empty" / "a.wav", SOUND, RATE_HZ)
    (tmp_path / "empty" / "split.csv").write_bytes(b"\xff\xfe\x00")
    refused(lanewise("data", "check", "folder:empty"), 1, "split.csv: is not UTF-8 text")


def test_score(lanewise: Lanewise, tmp_path: Path) -> None:
    for name, clips in (("ref", "ab"), ("deg", "ac"), ("none", "")):
        (tmp_path / name).mkdir()
        for clip in clips:
            soundfile.write(tmp_path / name / f"{clip}.wav", SOUND, RATE_HZ)
    refused(lanewise("score", "ref", "deg"), 2, "ref: no file of the same name in deg for b.wav")
    refused(lanewise("score", "ref", "none"), 2, "none: holds no .wav or .flac file")
    refused(lanewise("score", "ref", "deg/a.wav"), 2, "not one of each")
    refused(lanewise("score", "ref", "nope"), 2, "nope: no such file or folder")
    refused(lanewise("score", "--metrics", "stio", "ref", "ref"), 2, "unknown sound metric: stio; did you mean 'stoi'?")


# Packed models and checkpoints


def _altered(raw: bytes, how: str) -> bytes:
    header_bytes = struct.unpack_from("<8sI", raw)[1] + struct.unpack_from("<8sII", raw)[2]
    place = {"magic": 3, "version": 8, "length": 12, "size": 17, "checksum": 25, "header": 40}
    if how.startswith("cut"):
        return raw[: {"cut at 0": 0, "cut in prefix": 20, "cut in header": 200, "cut at end": len(raw) - 1}[how]]
    at = place.get(how, {"tensors": header_bytes + 500, "last byte": len(raw) - 1}.get(how, 0))
    return raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :]


@pytest.mark.parametrize(
    "how",
    [
        *("cut at 0", "cut in prefix", "cut in header", "cut at end"),
        *("magic", "version", "length", "size", "checksum", "header", "tensors", "last byte"),
    ],
)
def test_packed_model(lanewise: Lanewise, tmp_path: Path, packed: Path, how: str) -> None:
    (tmp_path / "bad.lwm").write_bytes(_altered(packed.read_bytes(), how))
    soundfile.write(tmp_path / "in.wav", SOUND, RATE_HZ)
    refused(lanewise("synth", "bad.lwm", "in.wav", "out.wav"), 1, "bad.lwm: ")
    refused(lanewise("rtf", "bad.lwm"), 1, "bad.lwm: ")
    assert not (tmp_path / "out.wav").exists()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as `lanewise train` writes it."""
    from bench.models.checkpoint import save
    from bench.models.wavernn import Arch, SubbandWaveRNN

    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save(path, SubbandWaveRNN(Arch(hidden=16, head=16)), {"note": "untrained"})
    return path


def _with_header(raw: bytes, **changed: str | None) -> bytes:
    """Return the checkpoint with other metadata; None leaves a key out."""
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    metadata = header["__metadata__"] | {key: value for key, value in changed.items() if value is not None}
    header["__metadata__"] = {key: value for key, value in metadata.items() if changed.get(key, "") is not None}
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return struct.pack("<Q", len(text)) + text + raw[8 + length :]


@pytest.mark.parametrize("how", ["empty", "cut", "text", "packed", "length", "kind", "arch missing", "arch negative"])
def test_checkpoint(lanewise: Lanewise, tmp_path: Path, checkpoint: Path, packed: Path, how: str) -> None:
    raw = checkpoint.read_bytes()
    made = {
        "empty": b"",
        "cut": raw[: len(raw) // 2],
        "text": b"hello, no checkpoint",
        "packed": packed.read_bytes(),
        "length": bytes([raw[0] ^ 1]) + raw[1:],
        "kind": _with_header(raw, kind="other"),
        "arch missing": _with_header(raw, arch=None),
        "arch negative": _with_header(raw, arch=json.dumps({"hidden": -3})),
    }
    (tmp_path / "bad.safetensors").write_bytes(made[how])
    refused(lanewise("pack", "bad.safetensors", "out.lwm"), 1, "bad.safetensors: ")
    refused(lanewise("trial", "--dry-run", "--set", "model.init=bad.safetensors"), 2, "model.init: bad.safetensors: ")
    assert not (tmp_path / "out.lwm").exists()


def test_wrong_kind_of_file(lanewise: Lanewise, tmp_path: Path, checkpoint: Path, packed: Path) -> None:
    soundfile.write(tmp_path / "in.wav", SOUND, RATE_HZ)
    for given in (checkpoint, tmp_path / "in.wav"):
        refused(lanewise("synth", given, "in.wav", "out.wav"), 1, "is not a packed model")
    refused(lanewise("synth", "nope.lwm", "in.wav", "out.wav"), 1, "nope.lwm: cannot be opened: there is no such file")
    refused(lanewise("pack", checkpoint, "o.lwm", "--tile", "gru.recurrnt=1x1"), 2, "did you mean 'gru.recurrent'?")
    refused(
        lanewise("pack", checkpoint, "o.lwm", "--tile", "gru.recurrent=2by4"), 2, "no kernel for '2by4'; allowed: dense"
    )
    refused(
        lanewise("synth", packed, "in.wav", "out.wav", "--isa", ABSENT_ISA), 2, f"this host cannot run '{ABSENT_ISA}'"
    )


# Options, outputs, studies


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--steps", 0, "0 is not in the range"),
        ("--steps", -5, "-5 is not in the range"),
        ("--hidden", 0, "0 is not in the range"),
        ("--batch", 0, "0 is not in the range"),
        ("--frames", 0, "0 is not in the range"),
        ("--threads", -1, "-1 is not in the range"),
        ("--rate", "nan", "--rate nan: expected a learning rate above 0"),
        ("--rate", 0, "--rate 0: expected a learning rate above 0"),
        ("--device", "tpu", "'tpu' is not one of 'cpu', 'cuda'"),
    ],
)
def test_option_of_train(lanewise: Lanewise, option: str, value: object, said: str) -> None:
    refused(lanewise("train", "x.safetensors", option, value), 2, said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tile", "0x4"), "--tile 0x4: expected one of dense"),
        (("--tile", "2by4"), "--tile 2by4: expected one of dense"),
        (("--isa", ABSENT_ISA), f"--isa {ABSENT_ISA}: expected one of"),
        (("--sparsity", "1.2"), "--sparsity 1.2: expected a share"),
        (("--sparsity", "high"), "'high' is not a comma-separated list"),
        (("--hidden", "0"), "--hidden 0: expected 16 to 8192"),
    ],
)
def test_option_of_kernels(lanewise: Lanewise, options: tuple[str, str], said: str) -> None:
    refused(lanewise("kernels", "--fast", "--no-peers", *options), 2, said)


def test_output_that_cannot_be_written_is_refused_before_the_work(
    lanewise: Lanewise, tmp_path: Path, packed: Path, checkpoint: Path
) -> None:
    soundfile.write(tmp_path / "in.wav", SOUND, RATE_HZ)
    (tmp_path / "folder.safetensors").mkdir()
    for out in ("in.wav/x.wav", "/proc/nope/x.wav"):
        refused(lanewise("synth", packed, "in.wav", out), 2, f"{out}: cannot be written")
        refused(lanewise("pack", checkpoint, out), 2, f"{out}: cannot be written")
    refused(lanewise("synth", packed, "in.wav", tmp_path), 2, "is a folder; name a file")
    refused(lanewise("train", "in.wav/x.safetensors", "--steps", 1), 2, "in.wav/x.safetensors: cannot be written")
    refused(lanewise("train", "folder.safetensors"), 2, "is a directory")
    refused(lanewise("trial", "--set", "model.init=scratch", "--out", "/proc/nope"), 1, "cannot be written")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_disk_that_is_full_and_reader_that_has_gone() -> None:
    command = [sys.executable, "-c", "from bench.cli.main import main; main()", "trial", "--keys", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "lanewise: No space left on device; free space there and run the same command again\n"
    reader, writer = os.pipe()
    os.close(reader)
    gone = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (gone.returncode, gone.stderr) == (1, "")


def test_commands(lanewise: Lanewise) -> None:
    refused(lanewise(), 2, "Usage: lanewise", "demo")
    refused(lanewise("scor"), 2, "no command 'scor'; did you mean 'score'?")
    refused(lanewise("nosuch"), 2, "no command 'nosuch'; there are: demo")
    refused(lanewise("sweep", "rnu"), 2, "'rnu'", "'run'")
    refused(lanewise("synth"), 2, "expected [MODEL.lwm] IN.wav OUT.wav, got 0 files")


def test_study_that_is_none(lanewise: Lanewise, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words in (("sweep", "resume"), ("sweep", "status"), ("sweep", "stop"), ("worker",), ("dashboard",)):
        refused(lanewise(*words, "nope"), 2, "nope: is no study's folder")
        refused(lanewise(*words, "empty"), 2, "empty: is no study's folder")
    refused(lanewise("sweep", "resume"), 2, "no study in runs/")
    refused(lanewise("report", "nope"), 2, "no study 'nope'")
    refused(lanewise("report", "empty"), 1, "empty: no records")
    refused(
        lanewise("report", "x", "--tracking-uri", "sqlite:///no.db", "--out", "o"), 2, "sqlite:///no.db: no such file"
    )
    assert not (tmp_path / "no.db").exists()


def test_study_file_that_changed_since_it_was_started(lanewise: Lanewise, tmp_path: Path) -> None:
    from studies.folder import StudyFolder
    from studies.study_file import load

    text = "name: x\nbase: {model.init: scratch, train.steps: 4}\narms: {a: {}}\n"
    (tmp_path / "x.yaml").write_text(text)
    StudyFolder(tmp_path / "runs" / "x").adopt(load("x.yaml"), None, None)
    (tmp_path / "x.yaml").write_text(text.replace("4", "6"))
    refused(lanewise("sweep", "run", "x.yaml"), 2, "-  train.steps: 4", "+  train.steps: 6", "--out DIR")


def test_json_is_alone_on_stdout(lanewise: Lanewise, tmp_path: Path, packed: Path) -> None:
    soundfile.write(tmp_path / "in.wav", SOUND, RATE_HZ)
    for words in (
        ("trial", "--keys", "--json"),
        ("trial", "--dry-run", "--json", "--set", "model.init=scratch"),
        ("kernels", "--list", "--json"),
        ("data", "list", "--json"),
        ("doctor", "--no-clock", "--json"),
        ("score", "in.wav", "in.wav", "--metrics", "mrstft", "--json"),
        ("synth", packed, "in.wav", "out.wav", "--json"),
    ):
        outcome = lanewise(*words)
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)
