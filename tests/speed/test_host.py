"""What the host's description says, and what it must not say."""

import json
import os
import platform
from pathlib import Path

import pytest

from bench import host


def test_description_is_json_and_names_no_one() -> None:
    text = json.dumps(host.describe())
    assert host.cpu_name() in text
    assert platform.node() not in text or len(platform.node()) < 4
    assert str(Path.home()) not in text or str(Path.home()) == "/"
    assert os.getcwd() not in text


def test_caches_are_bytes() -> None:
    assert all(size >= 1024 for size in host.cache_sizes().values())


def test_cache_directory_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("LANEWISE_CACHE", raising=False)
    assert host.cache_dir() == tmp_path / "xdg" / "lanewise"
    monkeypatch.setenv("LANEWISE_CACHE", str(tmp_path / "own"))
    assert host.cache_dir() == tmp_path / "own"
    assert host.cache_dir().is_dir()


def test_versions_are_of_installed_packages_only() -> None:
    import numpy

    assert host.package_versions()["numpy"] == numpy.__version__
