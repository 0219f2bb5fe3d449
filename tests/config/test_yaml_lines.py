"""YAML with lines: origins of every path, repeated keys, overrides, numbers that YAML 1.1 would leave as text."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.config.yaml_lines import ConfigError, dotted, parse, read
from bench.errors import UsageError

TEXT = """\
# a comment
reg:
  kind: group_lasso
  lambda: 1e-4

prune:
  matrices:
    - gru.recurrent
    - head.fc
"""

scalars = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text("abcdef ", min_size=1, max_size=8)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def test_every_value_knows_its_line() -> None:
    document = parse(TEXT, "t.yaml")
    assert str(document.origin(("reg", "kind"))) == "t.yaml:3"
    assert str(document.origin(("prune", "matrices", 1))) == "t.yaml:9"
    assert str(document.origin(("prune", "missing"))) == "t.yaml:6", "an absent key points at its section"
    assert str(document.origin(("nowhere",))) == "t.yaml:1" or document.origin(("nowhere",)).line is None


def test_scientific_notation_without_a_point_is_a_number() -> None:
    assert parse(TEXT, "t.yaml").data["reg"]["lambda"] == 1e-4
    data = parse("a: 1e3\nb: -2E-5\nc: 16x1\nd: 12\ne: 1.5\nf: 1_000.5\ng: 2026-11-22", "t").data
    assert data == {"a": 1000.0, "b": -2e-5, "c": "16x1", "d": 12, "e": 1.5, "f": "1_000.5", "g": "2026-11-22"}


@given(st.dictionaries(st.text("abcxyz", min_size=1, max_size=4), trees, max_size=4))
def test_data_is_what_plain_yaml_reads(tree: dict[str, object]) -> None:
    text = yaml.safe_dump(tree)
    assert parse(text, "t").data == yaml.safe_load(text)


def test_a_repeated_key_is_an_error_with_both_lines() -> None:
    with pytest.raises(ConfigError, match=r"t\.yaml:3: a\.b: written twice, first on line 2"):
        parse("a:\n  b: 1\n  b: 2\n", "t.yaml")


def test_a_merge_key_may_be_overridden() -> None:
    data = parse("base: &base {x: 1, y: 2}\nmine:\n  <<: *base\n  y: 3\n", "t").data
    assert data["mine"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2\n", "expected a mapping"),
        ("a: [1, 2\nb: 3\n", r"t\.yaml:2: not valid YAML"),
        ("a: !!python/object:os.system x\n", "not valid YAML"),
        ("a: &x [*x]\n", "alias"),
    ],
)
def test_what_is_not_a_configuration_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(text, "t.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.yaml")
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read(binary)
    (tmp_path / "empty.yaml").write_text("")
    assert read(tmp_path / "empty.yaml").data == {}


def test_overrides_win_and_say_where_they_came_from() -> None:
    document = parse(TEXT, "t.yaml")
    changed = document.override(["reg.kind=lasso", "prune.matrices=[gru.cond]", "new.deep.key=0.5"])
    assert changed.data["reg"] == {"kind": "lasso", "lambda": 1e-4}
    assert changed.data["prune"]["matrices"] == ["gru.cond"]
    assert changed.data["new"] == {"deep": {"key": 0.5}}
    assert str(changed.origin(("reg", "kind"))) == "--set reg.kind=lasso"
    assert str(changed.origin(("prune", "matrices", 0))) == "--set prune.matrices=[gru.cond]"
    assert document.data["reg"]["kind"] == "group_lasso", "the original is unchanged"


def test_bad_overrides_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(TEXT, "t.yaml").override(["nonsense", "a..b=1", "reg.kind.x=1", "a=[1"])
    assert len(caught.value.problems) == 4


def test_dotted() -> None:
    assert dotted(("prune", "matrices", 1)) == "prune.matrices[1]"
