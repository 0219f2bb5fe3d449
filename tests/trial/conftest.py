"""A tiny corpus of real recordings and a tiny model, on which a whole trial takes a second or two."""

import shutil
from pathlib import Path

import pytest

from bench.config.load import validate
from bench.config.schema import TrialConfig
from bench.config.yaml_lines import parse
from bench.data.corpus import load_corpus

TINY = """\
data: {corpus: "folder:%s"}
model: {init: dense, hidden: 16, head: 16, mixtures: 2}
train: {steps: 12, batch: 2, segment: 80, dense_steps: 6, validate_every: 4, checkpoint_every: 4}
reg: {kind: group_lasso, tile: 8x1}
prune: {kind: magnitude, sparsity: 0.7}
measure: {metrics: [stoi, mrstft], audio_clips: 1, speed: false, test_clips: 2}
"""


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven of the shortest clips of the embedded corpus, as a folder with a split."""
    root = tmp_path_factory.mktemp("corpus")
    corpus, rows = load_corpus("embedded"), ["id,split"]
    for split, count in (("train", 6), ("valid", 2), ("test", 3)):
        for clip in sorted(corpus.split(split), key=lambda clip: (clip.seconds, clip.id))[:count]:
            shutil.copy(clip.path, root / clip.path.name)
            rows.append(f"{clip.path.stem},{split}")
    (root / "split.csv").write_text("\n".join(rows) + "\n")
    return root


def tiny_config(corpus: Path, *overrides: str) -> TrialConfig:
    """Return the configuration of a tiny trial on a corpus, with overrides as on the command line."""
    return validate(parse(TINY % corpus, "tiny.yaml").override(overrides))
