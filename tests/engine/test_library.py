"""The engine without Python: built, installed, used from C and from the shell; the same bits as from Python.

The library is built once into build/library (20 s on one core the first time).
"""

import ctypes
import os
import resource
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.audio import read_wav, write_wav
from bench.data.features import log_mel
from bench.engine import Enhancer, Vocoder
from bench.engine.native import core
from bench.engine.pack import GATES, pack_vocoder
from bench.engine.pack_enhancer import pack_enhancer
from bench.engine.vocoder import read_header
from tests.engine.enhancers import noisy, random_enhancer
from tests.engine.models import fresh, prune, random_model

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "bench" / "engine"
pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("cmake", "cc", "pkg-config")), reason="needs cmake, cc and pkg-config"
)


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build, prefix = ROOT / "build" / "library", tmp_path_factory.mktemp("installed")
    run("cmake", "-S", ENGINE, "-B", build, "-DLANEWISE_PYTHON=OFF", "-DCMAKE_INSTALL_LIBDIR=lib")
    run("cmake", "--build", build, "--parallel", "2")
    run("cmake", "--install", build, "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arch, tensors = random_model(np.random.default_rng(60), mels=80)
    path = tmp_path_factory.mktemp("model") / "m.lwm"
    pack_vocoder(path, arch, tensors)
    return path


@pytest.fixture(scope="module")
def mel() -> Any:
    return np.random.default_rng(61).standard_normal((37, 80)).astype(np.float32)


def synth(installed: Path, *arguments: str | Path, code: int = 0, isa: str | None = None, **options: Any) -> str:
    """Standard error of lanewise-synth, run with nothing in its environment but LANEWISE_ISA."""
    command = [str(installed / "bin" / "lanewise-synth"), *map(str, arguments)]
    env = {} if isa is None else {"LANEWISE_ISA": isa}
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env, **options)
    told: str = done.stderr
    assert done.returncode == code, told
    return told


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_c_example(installed: Path, model: Path, mel: Any, tmp_path: Path, kind: str) -> None:
    environment = os.environ | {"PKG_CONFIG_PATH": str(installed / "lib" / "pkgconfig")}
    libraries = ["--libs"] if kind == "shared" else ["--static", "--libs"]
    flags = run("pkg-config", "--cflags", *libraries, "lanewise", env=environment).stdout.split()
    if kind == "static":
        flags = [str(installed / "lib" / "liblanewise.a") if flag == "-llanewise" else flag for flag in flags]
    example, program = ENGINE / "examples" / "synth.c", tmp_path / "synth"
    assert len(example.read_text().splitlines()) <= 60
    run("cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", example, *flags, "-o", program)
    mel.tofile(tmp_path / "mel.f32")
    paths = (model, tmp_path / "mel.f32", tmp_path / "audio.f32")
    run(program, *paths, env={"LD_LIBRARY_PATH": str(installed / "lib")})
    audio = np.fromfile(tmp_path / "audio.f32", dtype=np.float32)
    np.testing.assert_array_equal(audio, Vocoder(model).synthesize(mel))


def test_c_example_of_enhancers(installed: Path, model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(62)
    path, program = tmp_path / "e.lwm", tmp_path / "enhance"
    pack_enhancer(path, *random_enhancer(rng))
    enhancer = Enhancer(path)
    flags = (f"-I{installed}/include", f"-L{installed}/lib", "-llanewise")
    run("cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", ENGINE / "examples" / "enhance.c", *flags,
        "-o", program)  # fmt: skip
    audio = noisy(rng, 20 * enhancer.hop - 5)

    def enhanced(model: Path, given: Any) -> subprocess.CompletedProcess[bytes]:
        environment = {"LD_LIBRARY_PATH": str(installed / "lib")}
        return subprocess.run([program, model], input=given.tobytes(), capture_output=True, env=environment)

    out = np.frombuffer(enhanced(path, audio).stdout, np.float32)
    assert len(out) == 20 * enhancer.hop
    np.testing.assert_array_equal(out[enhancer.delay :], enhancer.enhance(audio)[: len(out) - enhancer.delay])
    assert b"is a vocoder" in enhanced(model, audio).stderr
    assert b"in holds NaN" in enhanced(path, np.full(enhancer.hop, np.nan, np.float32)).stderr


def test_cmake_package(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(user C CXX)\nfind_package(lanewise 0.1 REQUIRED)\n"
        f"add_executable(a {ENGINE}/examples/synth.c)\ntarget_link_libraries(a lanewise::static)\n"
        f"add_executable(b {ENGINE}/examples/synth.c)\ntarget_link_libraries(b lanewise::shared)\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", tmp_path / "build")


def test_only_its_own_names_are_exported(installed: Path) -> None:
    symbols = run("nm", "-D", "--defined-only", installed / "lib" / "liblanewise.so").stdout.splitlines()
    names = [line.split()[-1] for line in symbols if " T " in line]
    assert names
    assert all(name.startswith("lanewise_") for name in names), names
    for binary in ("lib/liblanewise.so", "bin/lanewise-synth"):
        assert "python" not in run("ldd", installed / binary).stdout


@pytest.mark.parametrize(("kind", "frames"), [("npy", 37), ("f32", 3), ("f32", 4), ("f32", 16), ("mel", 600)])
def test_synth_from_mel_frames(installed: Path, model: Path, tmp_path: Path, kind: str, frames: int) -> None:
    mel = np.random.default_rng(65).standard_normal((frames, 80)).astype(np.float32)
    source = tmp_path / f"in.{kind}"
    np.save(source, mel) if kind == "npy" else mel.tofile(source)
    told = synth(installed, model, source, tmp_path / "o.wav", "--seed", "7", "--temperature", "0.8", "--time")
    assert "RTF" in told
    speech = Vocoder(model).synthesize(mel, seed=7, temperature=0.8)
    write_wav(tmp_path / "expected.wav", speech / max(1.0, float(np.abs(speech).max())))
    np.testing.assert_array_equal(read_wav(tmp_path / "o.wav"), read_wav(tmp_path / "expected.wav"))
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_features_equal_those_of_python(installed: Path) -> None:
    from bench.data.corpus import load_corpus

    library = ctypes.CDLL(str(installed / "lib" / "liblanewise.so"))
    floats = ctypes.POINTER(ctypes.c_float)
    library.lanewise_log_mel.restype = library.lanewise_mel_frames.restype = ctypes.c_ssize_t
    library.lanewise_log_mel.argtypes = [floats, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t, floats]
    library.lanewise_mel_frames.argtypes = [ctypes.c_size_t]
    rng = fresh()
    clips = [clip.audio() for clip in load_corpus("embedded").clips[:3]]
    noises = [rng.standard_normal(n).astype(np.float32) * 0.1 for n in (480, 639, 5000)]
    for audio in [*clips, *noises]:
        expected = log_mel(audio)
        assert library.lanewise_mel_frames(len(audio)) == len(expected)
        found = np.zeros_like(expected)
        first = len(expected) // 3  # in two pieces
        for begin, end in ((0, first), (first, len(expected))):
            part = found[begin:end]
            audio_at, mel_at = (a.ctypes.data_as(floats) for a in (audio, part))
            assert library.lanewise_log_mel(audio_at, len(audio), begin, end - begin, mel_at) == end - begin
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert library.lanewise_mel_frames(479) == -1

    broken = np.zeros(16000, np.float32)
    broken[8000] = np.nan
    mel = np.zeros((100, 80), np.float32)
    audio_at, mel_at = (a.ctypes.data_as(floats) for a in (broken, mel))
    for first in range(100):
        seen = first * 160 - 432 <= 8000 < first * 160 + 592
        assert library.lanewise_log_mel(audio_at, 16000, first, 1, mel_at) == (-1 if seen else 1), first


def test_options_with_an_equals_sign(installed: Path, model: Path, mel: Any, tmp_path: Path) -> None:
    mel.tofile(tmp_path / "in.f32")
    for name, options in (("a", ("--seed=3", "--temperature=0.5")), ("b", ("--seed", "3", "--temperature", "0.5"))):
        synth(installed, model, tmp_path / "in.f32", tmp_path / f"{name}.wav", *options)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_weights_too_large_to_make_sound(installed: Path, mel: Any, tmp_path: Path) -> None:
    arch, tensors = random_model(np.random.default_rng(68), mels=80)
    tensors["band_scale"] = np.full(4, 3e38, np.float32)
    pack_vocoder(tmp_path / "m.lwm", arch, tensors)
    mel.tofile(tmp_path / "in.f32")
    told = synth(installed, tmp_path / "m.lwm", tmp_path / "in.f32", tmp_path / "o.wav", code=1)
    assert "o.wav: the model made NaN or infinite samples" in told
    assert not (tmp_path / "o.wav").exists()


def test_pkg_config_follows_absolute_folders(tmp_path: Path) -> None:
    libraries = tmp_path / "libraries"
    run("cmake", "-S", ENGINE, "-B", tmp_path, "-DLANEWISE_PYTHON=OFF", f"-DCMAKE_INSTALL_LIBDIR={libraries}",
        "-DCMAKE_INSTALL_PREFIX=/opt/lanewise")  # fmt: skip
    described = (tmp_path / "library" / "lanewise.pc").read_text()
    assert f"libdir={libraries}\n" in described
    assert "includedir=/opt/lanewise/include\n" in described


def test_c_interface_refuses_what_is_missing(installed: Path, model: Path) -> None:
    library = ctypes.CDLL(str(installed / "lib" / "liblanewise.so"))
    library.lanewise_error.restype = ctypes.c_char_p
    library.lanewise_open.restype = library.lanewise_stream_new.restype = ctypes.c_void_p
    library.lanewise_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.lanewise_stream_new.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_double]
    library.lanewise_push.restype = library.lanewise_log_mel.restype = ctypes.c_ssize_t
    library.lanewise_push.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    library.lanewise_log_mel.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 3, ctypes.c_void_p]
    library.lanewise_pull.restype = ctypes.c_size_t
    library.lanewise_pull.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    for name in ("finish", "stream_free", "close"):
        getattr(library, f"lanewise_{name}").argtypes = [ctypes.c_void_p]

    assert library.lanewise_open(None, None) is None
    assert library.lanewise_error() == b"path is NULL"
    assert library.lanewise_stream_new(None, 0, 0, 1.0) is None
    assert library.lanewise_error() == b"vocoder is NULL"
    assert library.lanewise_push(None, None, 1) == -1
    assert library.lanewise_error() == b"stream is NULL"
    assert library.lanewise_log_mel(None, 1600, 0, 1, None) == -1
    assert library.lanewise_error() == b"audio is NULL"
    library.lanewise_stream_free(None)
    library.lanewise_close(None)

    vocoder = library.lanewise_open(str(model).encode(), b"scalar")
    stream = library.lanewise_stream_new(vocoder, 0, 0, 1.0)
    assert library.lanewise_push(stream, None, 1) == -1
    assert library.lanewise_error() == b"mel is NULL"
    mel, audio = (ctypes.c_float * (64 * 80))(), (ctypes.c_float * (64 * 160))()
    taken = library.lanewise_push(stream, mel, 64)
    assert 8 <= taken < 64  # no more than there is room for
    library.lanewise_finish(stream)
    assert library.lanewise_push(stream, mel, 1) == -1
    assert b"has been finished" in library.lanewise_error()
    assert library.lanewise_pull(stream, audio, 2**63) == taken
    assert library.lanewise_pull(stream, audio, 1) == 0
    library.lanewise_stream_free(stream)
    library.lanewise_close(vocoder)


def test_synth_from_a_recording(installed: Path, model: Path, tmp_path: Path) -> None:
    audio = np.random.default_rng(62).standard_normal(8000).astype(np.float32) * 0.1
    write_wav(tmp_path / "in.wav", audio)
    synth(installed, model, tmp_path / "in.wav", tmp_path / "out.wav")
    mel = log_mel(read_wav(tmp_path / "in.wav"))
    speech = read_wav(tmp_path / "out.wav")
    assert len(speech) == len(mel) * 160
    # Features differ in their last bits, so that a level may fall on the other side of an edge; that is rare.
    expected = Vocoder(model).synthesize(mel, temperature=0.9)
    assert np.mean(np.abs(speech * max(1.0, float(np.abs(expected).max())) - expected) > 1e-3) < 0.5


def wav_bytes(samples: bytes, rate: int = 16000, channels: int = 1, bits: int = 16, coding: int = 1) -> bytes:
    fmt = struct.pack("<HHIIHH", coding, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


SOUND = bytes(2000)
NAN = np.full(600, np.nan, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.wav", None, "no such file"),
        ("a.wav", b"", "is empty"),
        ("a.wav", b"hello world, this is text", "is not a wav file"),
        ("a.wav", wav_bytes(SOUND, rate=44100), "sample rate is 44100 Hz, expected 16000 Hz"),
        ("a.wav", wav_bytes(SOUND, channels=2), "has 2 channels, expected mono"),
        ("a.wav", wav_bytes(SOUND, bits=24), "24-bit"),
        ("a.wav", wav_bytes(SOUND)[:-10], "is cut short"),
        ("a.wav", wav_bytes(SOUND)[:30], "is cut short"),
        ("a.wav", wav_bytes(b""), "holds no samples"),
        ("a.wav", wav_bytes(bytes(600)), "is 300 samples long"),
        ("a.wav", wav_bytes(NAN, bits=32, coding=3), "600 of 600 samples are NaN"),
        ("a.f32", b"", "is empty"),
        ("a.f32", bytes(321), "no whole frames"),
        ("a.f32", np.full(80, np.inf, dtype="<f4").tobytes(), "NaN or infinite"),
        ("a.npy", b"\x93NUMPY\x01\x00\xff\xff", "cut short"),
        ("a.npy", np.zeros((3, 80)), "is another array"),
        ("a.npy", np.zeros((3, 81), dtype="<f4"), "has 81 numbers in a frame"),
        ("a.npy", np.zeros(80, dtype="<f4"), "is another array"),
        ("a.npy", np.zeros((0, 80), dtype="<f4"), "holds no frames"),
    ],
)
def test_bad_input(installed: Path, model: Path, tmp_path: Path, name: str, content: Any, message: str) -> None:
    source = tmp_path / name
    if isinstance(content, bytes):
        source.write_bytes(content)
    elif content is not None:
        np.save(source, content)
    told = synth(installed, model, source, tmp_path / "out.wav", code=1)
    assert message in told
    assert str(source) in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out.wav").exists()


def test_bad_usage(installed: Path, model: Path, mel: Any, tmp_path: Path) -> None:
    mel.tofile(tmp_path / "in.f32")
    files = (model, tmp_path / "in.f32", tmp_path / "o.wav")
    assert "expected MODEL.lwm IN OUT.wav" in synth(installed, model, code=2)
    assert "unknown option --fast" in synth(installed, *files, "--fast", code=2)
    assert "--seed: got '-1'" in synth(installed, *files, "--seed", "-1", code=2)
    assert "--temperature: got 'nan'" in synth(installed, *files, "--temperature", "nan", code=2)
    assert "--isa: needs a value" in synth(installed, *files, "--isa", code=2)
    assert "--temperature: got ''" in synth(installed, *files, "--temperature=", code=2)
    assert "unknown option --time=yes" in synth(installed, *files, "--time=yes", code=2)
    cannot = "this host cannot run 'mmx'; it runs: scalar"
    assert f"--isa: {cannot}" in synth(installed, *files, "--isa", "mmx", code=2)
    assert f"LANEWISE_ISA: {cannot}" in synth(installed, *files, isa="mmx", code=2)
    synth(installed, *files, "--isa=scalar", isa="mmx")
    (tmp_path / "o.wav").unlink()
    assert "no such file" in synth(installed, tmp_path / "none.lwm", *files[1:], code=1)
    assert "cannot be written" in synth(installed, *files[:2], tmp_path / "none" / "o.wav", code=1)
    (tmp_path / "folder").mkdir()
    assert "folder: cannot be written" in synth(installed, *files[:2], tmp_path / "folder", code=1)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def synth_within_memory(installed: Path, path: Path, folder: Path) -> int:
    """Synthesise in.f32 to o.wav with the memory that a model may take at most; return that."""
    most = path.stat().st_size + int(read_header(path)["dims"]["table_bytes"]) + 2 * 2**20

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))

    synth(installed, path, folder / "in.f32", folder / "o.wav", preexec_fn=limit)
    return most


def test_pruned_heads_take_no_more_memory_than_they_store(installed: Path, mel: Any, tmp_path: Path) -> None:
    arch, dense = random_model(np.random.default_rng(66), hidden=256, cond=32, head=8192, mels=80)
    tiles = {"head.fc.weight": "16x1", "head.out.weight": "16x1"}
    tensors, masks = prune(np.random.default_rng(67), dense, tiles, GATES, 0.99)
    pack_vocoder(tmp_path / "m.lwm", arch, tensors, tiles, masks)
    mel.tofile(tmp_path / "in.f32")
    synth_within_memory(installed, tmp_path / "m.lwm", tmp_path)


def test_pruning_falls_in_bytes_and_memory_and_every_weight_counts(installed: Path, mel: Any, tmp_path: Path) -> None:
    """Anonymous memory is bounded by the kernel itself: beyond RLIMIT_DATA the program would end without memory."""
    arch, dense = random_model(np.random.default_rng(63), hidden=256, cond=128, head=128, mels=80, embed=32)
    tiles = {"gru.w_hh": "16x1", "gru.w_cond": "16x1", "gru.w_embed": "16x1"}
    mel.tofile(tmp_path / "in.f32")
    sizes = []
    for sparsity in (0.5, 0.7, 0.9):
        tensors, masks = prune(np.random.default_rng(64), dense, tiles, GATES, sparsity)
        path = tmp_path / f"{sparsity}.lwm"
        pack_vocoder(path, arch, tensors, tiles, masks)
        sizes.append(synth_within_memory(installed, path, tmp_path))
    assert sizes[0] > sizes[1] > sizes[2]

    before = read_wav(tmp_path / "o.wav")
    file = bytearray(path.read_bytes())
    at = next(m for m in read_header(path)["matrices"] if m["name"] == "gru.w_hh")["weights"]["offset"]
    file[at : at + 4] = struct.pack("<f", 2.0)
    file[24:32] = struct.pack("<Q", core.checksum(bytes(file)))
    path.write_bytes(file)
    synth(installed, path, tmp_path / "in.f32", tmp_path / "o.wav")
    assert not np.array_equal(before, read_wav(tmp_path / "o.wav"))
