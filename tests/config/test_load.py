"""Trial configurations: every mistake names file, line, key, what was got and what is allowed."""

import json
import struct
from pathlib import Path

import pytest

from bench.config.flat import arm_name, config_hash, dump, flatten, run_name
from bench.config.host import check_host, host_findings
from bench.config.load import from_dict, load, validate
from bench.config.schema import TrialConfig
from bench.config.yaml_lines import ConfigError, parse
from bench.engine.isa import ISAS, built_isas, isas
from bench.sparsity.catalogue import names
from tests.engine.models import ABSENT_ISA

SIMD = """\
model:
  init: dense
reg:
  kind: group_lasso
  tile: 16x1
prune:
  kind: magnitude
  sparsity: 0.7
"""


def config(text: str = SIMD) -> TrialConfig:
    return validate(parse(text, "t.yaml"))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(text)
    return [str(problem) for problem in caught.value.problems]


def test_defaults_that_follow_from_other_keys() -> None:
    resolved = config()
    assert resolved.prune.tile == "16x1"
    assert resolved.simd.width == 16
    assert resolved.reg.target == pytest.approx(0.35)
    assert (resolved.model.hidden, resolved.model.head, resolved.model.mixtures) == (256, 128, 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reg:\n  kidn: lasso\n", ["t.yaml:2: reg.kidn: unknown key; did you mean 'kind'? allowed here: form, kind, "
                                   "lambda, options, target, tile"]),
        ("pruen: {}\n", ["t.yaml:1: pruen: unknown key; did you mean 'prune'? allowed here: arm, data, measure, model, "
                         "pack, plugins, prune, quant, recover, reg, seed, simd, task, train, tune"]),
        ("prune:\n\n  kind: magnitud\n", ["t.yaml:3: prune.kind: got 'magnitud', expected one of "
                                          f"{', '.join(names('pruner'))}; did you mean 'magnitude'?"]),
        ("prune:\n  sparsity: 1.5\n", ["t.yaml:2: prune.sparsity: got 1.5, expected less than or equal to 1"]),
        ("prune:\n  sparsity: '0.5'\n", ["t.yaml:2: prune.sparsity: got '0.5', expected a valid number"]),
        ("train:\n  steps: 1.5\n", ["t.yaml:2: train.steps: got 1.5, expected a valid integer"]),
        ("train:\n  steps: true\n", ["t.yaml:2: train.steps: got True, expected a valid integer"]),
        ("train: 7\n", ["t.yaml:1: train: got 7, expected a section of keys: steps, shares, batch, segment, "
                        "seconds, loss, lr, dense_steps, dense_lr, validate_every, checkpoint_every, device"]),
        ("reg:\n  lambda: often\n", ["t.yaml:2: reg.lambda: got 'often', expected a number >= 0, or "
                                     "'controlled'"]),
        ("prune:\n  matrices:\n    - gru.recurrent\n    - gru.recurent\n", [
            "t.yaml:4: prune.matrices[1]: got 'gru.recurent', expected one of gru.recurrent, gru.cond, gru.embed, "
            "head.fc, head.out; did you mean 'gru.recurrent'?"]),
        ("measure:\n  metrics: [pesq]\n", [
            "t.yaml:2: measure.metrics[0]: got 'pesq', expected one of pesq_wb, stoi, estoi, mcd_db, logf0_rmse, "
            "voicing_error, mrstft, visqol, dnsmos, si_sdr, sdr, all; did you mean 'pesq_wb'?"]),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line_and_what_is_allowed(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_all_mistakes_at_once_in_file_order() -> None:
    found = problems("train:\n  steps: 0\nreg:\n  kind: ridge\n  x: 1\n")
    assert [line.split(": ")[0] for line in found] == ["t.yaml:2", "t.yaml:4", "t.yaml:5"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [  # values that are wrong by themselves, and settings that clash, in one round
        ("train: {stepz: 3, shares: {reg: 0.9}}\nprune: {kind: magnitude, tile: 999x2, sparsity: 0.5}\n", [1, 1, 2]),
        ("prune: {kind: magnitude, tile: 999x2, sparsity: 0.5, schedule: cubical}\n", [1, 1]),
        ("colour: red\nprune: {sparsity: 0.5}\ndata: {corpus: embeded}\n", [1, 2, 3]),
        ("measure: {audio_clips: -1, metrics: [stoi, stoi]}\n", [1, 1]),
        # but nothing that only a default in place of a wrong value would mean
        ("prune: {kind: magnitud, sparsity: 0.5}\n", [1]),
        ("prune: {kidn: magnitude, sparsity: 0.5}\n", [1]),
        ("prune: {kind: magnitude, sparsity: 5}\n", [1]),
        ("prune: 3\nreg: {kind: group_lasso}\n", [1]),
        ("model: {init: dense, hidden: big}\nprune: {kind: magnitude, tile: 512x1, sparsity: 0.5}\n", [1]),
        ("train: {shares: {reg: x, prune: 0.8}}\n", [1]),
        ("reg: {kind: lasso, lambda_: often}\nmodel: {init: nowhere}\n", [1, 2]),
    ],
)
def test_what_can_be_found_is_said_in_one_round(text: str, lines: list[int]) -> None:
    assert [int(line.split(":")[1]) for line in problems(text)] == lines


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ("prune.tile=512x1", "prune.tile", "larger than one gate"),
        ("reg.tile=512x1", "reg.tile", "larger than one gate"),
        ("prune.tile=16y1", "prune.tile", "unknown name '16y1'"),
        ("prune.tile=8x1 pack.format=int8", "prune.tile", "no kernel"),
        ("prune.kind=none", "prune.sparsity", "prune.kind is 'none'"),
        ("prune.sparsity=null", "prune.sparsity", "missing"),
        ("reg.kind=skip_update", "reg.tile", "pulls no weights; leave it out"),
        ("reg.kind=skip_update reg.tile=null reg.lambda=0.1", "reg.lambda", "it has reg.options.cost"),
        ("reg.kind=skip_update reg.tile=null reg.target=0.1", "reg.target", "leave it out"),
        ("reg.kind=skip_update reg.tile=null reg.options.cost=-1", "reg.options.cost", "from 0 to 100"),
        ("reg.kind=skip_update reg.tile=null prune.tile=unit", "prune.tile", "a weight per hidden unit"),
        ("reg.kind=skip_update reg.tile=null recover.kind=rewind", "recover.kind", "not in the dense model"),
        ("prune.kind=random", "reg.kind", "control without a regularizer"),
        ("reg.kind=lasso", "reg.tile", "whose tile is 1x1"),
        ("reg.tile=1x1", "reg.tile", "reg.kind lasso"),
        ("simd.width=8", "simd.width", "is 16 long"),
        ("simd.isa=avx1024", "simd.isa", "avx1024"),
        ("reg.tile=simd", "reg.tile", "simd.width, which is not set"),
        ("train.shares.reg=0.9", "train.shares", "is 1.5, expected 1"),
        ("model.init=nowhere.safetensors", "model.init", "no such checkpoint"),
        ("data.corpus=embeded", "data.corpus", "did you mean 'embedded'"),
        ("data.corpus=folder:/no/where", "data.corpus", "no such folder"),
        ("reg.target=0.2 reg.lambda=0.1", "reg.target", "leave it out"),
        ("prune.matrices=[head.fc] prune.keep_diagonal=true", "prune.keep_diagonal", "gru.recurrent"),
        ("prune.keep_diagonal=true prune.sparsity=0.999", "prune.keep_diagonal", "768 tiles '16x1' hold the diagonal"),
        ("prune.keep_diagonal=true prune.tile=column", "prune.keep_diagonal", "256 tiles 'column'"),
        ("prune.matrices=[]", "prune.matrices", "at least one"),
    ],
)
def test_keys_that_cannot_go_together(change: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse(SIMD, "t.yaml").override(change.split()))
    found = [(".".join(map(str, problem.keys)), problem.message) for problem in caught.value.problems]
    assert any(name == key and message in text for name, text in found), found
    assert caught.value.exit_code == 2


def test_the_simd_tiles_take_their_length_from_the_width() -> None:
    made = validate(parse(SIMD, "t").override(["reg.tile=simd", "prune.tile=simd-row", "simd.width=8"]))
    assert (made.reg.tile, made.prune.tile, made.simd.width) == ("8x1", "1x8", 8)


def test_a_resolved_configuration_is_its_own_resolution(tmp_path: Path) -> None:
    import yaml

    resolved = config(SIMD + "simd: {width: 16}\nmeasure: {metrics: 'stoi, estoi'}\n")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(dump(resolved)))
    again = load(path)
    assert again == resolved
    assert config_hash(again) == config_hash(resolved)
    grid = config(SIMD + "tune: {key: reg.lambda, grid: [1e-4, 0.001]}\n")
    assert from_dict(dump(grid)) == grid
    assert flatten(grid)["tune.grid"] == "0.0001,0.001"


def test_every_trial_has_the_same_parameters() -> None:
    dense = config("model: {init: dense}\n")
    assert list(flatten(config())) == list(flatten(dense))
    flat = flatten(dense)
    assert flat["arm"] == "dense-continued"
    assert (flat["reg.kind"], flat["reg.tile"], flat["prune.sparsity"], flat["reg.lambda"]) == (
        "none",
        None,
        None,
        None,
    )
    assert flatten(config())["prune.matrices"] == "gru.recurrent"
    assert "data.cache" not in flat


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("arm=other", True),
        ("data.cache=elsewhere", True),
        ("measure.audio_clips=9", True),
        ("prune.tile=16x1", True),
        ("prune.sparsity=0.71", False),
        ("seed.recover=1", False),
        ("seed.dense=1", False),
        ("simd.isa=scalar", False),
        ("reg.lambda=0.1", False),
    ],
)
def test_the_hash_is_of_what_can_change_the_result(change: str, same: bool) -> None:
    changed = validate(parse(SIMD, "t.yaml").override([change]))
    assert (config_hash(changed) == config_hash(config())) == same


def test_any_host_reads_what_another_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = SIMD + f"train:\n  device: cuda\nsimd:\n  isa: {ABSENT_ISA}\n"
    made = config(asked)
    assert (made.train.device, made.simd.isa) == ("cuda", ABSENT_ISA)
    assert config_hash(config(SIMD + "train: {device: cuda}")) != config_hash(config()), "results differ by rounding"
    with pytest.raises(ConfigError) as caught:
        check_host(parse(asked, "t.yaml"), made)
    assert [str(problem).partition("; it runs")[0] for problem in caught.value.problems] == [
        f"t.yaml:12: simd.isa: this host cannot run '{ABSENT_ISA}'",
        "t.yaml:10: train.device: got 'cuda', but torch sees no CUDA device on this host; use cpu, or another host",
    ]
    assert [found.keys for found in host_findings(made, trains=False)] == [("simd", "isa")], "who times needs no GPU"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_host(parse(SIMD, "t.yaml"), config(SIMD + "train: {device: cuda}"))
    assert problems(asked.replace("cuda", "cudda")) == [
        "t.yaml:10: train.device: got 'cudda', expected one of cpu, cuda; did you mean 'cuda'?"
    ]


def test_every_isa_that_is_built_has_a_known_name() -> None:
    assert set(isas()) <= set(built_isas()) <= set(ISAS)


def test_keys_that_do_not_apply_do_not_change_the_hash() -> None:
    dense = config("model: {init: dense}\n")
    assert config_hash(dense) == config_hash(
        config("model: {init: dense}\nprune: {schedule: one-shot}\nreg: {lambda: 3}\n")
    )


@pytest.mark.parametrize(("kind", "counts"), [("unify", True), ("rigl", True), ("threshold", False), ("random", False)])
def test_the_norm_counts_for_pruners_that_rank_by_it(kind: str, counts: bool) -> None:
    text = f"model: {{init: dense}}\nprune: {{kind: {kind}, sparsity: 0.5}}\n"
    l2, l1 = config(text), validate(parse(text, "t").override(["prune.score=l1"]))
    assert (flatten(l2) != flatten(l1)) == (config_hash(l2) != config_hash(l1)) == counts


def test_a_whole_number_that_is_tuned_stays_one() -> None:
    from bench.trial.learning import with_value

    given = ["prune.kind=rigl", "reg.kind=none", "reg.tile=null", "tune.key=prune.options.every", "tune.grid=[2,5]"]
    made = validate(parse(SIMD, "t").override(given))
    tried = with_value(made, "prune.options.every", 5.0)
    assert repr(tried.prune.options["every"]) == "5"
    assert tried.tune.key is None


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ("", "simd-16x1-s70"),
        ("reg.kind=lasso reg.tile=null", "lasso-1x1-s70"),
        ("reg.kind=lasso reg.tile=null prune.tile=16x1", "lasso-16x1-s70"),
        ("reg.tile=column prune.sparsity=0.5", "column-s50"),
        ("reg.tile=gate-column", "gate-column-s70"),
        ("reg.tile=8x1 prune.tile=16x1", "simd-8x1-on-16x1-s70"),
        ("reg.kind=none reg.tile=null prune.kind=random prune.tile=16x1", "random-16x1-s70"),
        ("reg.kind=skip_update reg.tile=null prune.tile=16x1", "skip-update-16x1-s70"),
        ("reg.kind=skip_update reg.tile=null prune.kind=none prune.sparsity=null", "skip-update-unpruned"),
        ("reg.kind=none reg.tile=null prune.tile=1x1 prune.sparsity=0.875", "magnitude-1x1-s87.5"),
        ("reg.kind=none reg.tile=null prune.kind=none prune.sparsity=null", "dense-continued"),
        ("prune.kind=none prune.sparsity=null reg.target=0.3", "simd-16x1-unpruned"),
        ("reg.form=subgradient", "simd-16x1-subgradient-s70"),
        ("arm=mine", "mine"),
    ],
)
def test_arms_are_named_by_what_they_are(changes: str, name: str) -> None:
    assert arm_name(validate(parse(SIMD, "t.yaml").override(changes.split()))) == name
    assert run_name(3, "simd-16x1-s70", 1) == "t0003-simd-16x1-s70-seed1"


def _checkpoint(path: Path, metadata: dict[str, str]) -> Path:
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


def test_a_checkpoint_says_what_shape_the_model_has(tmp_path: Path) -> None:
    arch = {"hidden": 64, "head": 32, "mixtures": 2, "causal": False, "embed": 32, "cond": 128, "bands": 4}
    kind = "lanewise.subband-wavernn"
    path = _checkpoint(tmp_path / "m.safetensors", {"kind": kind, "arch": json.dumps(arch)})
    text = SIMD.replace("init: dense", f"init: {path}")
    assert config(text).model.hidden == 64
    with pytest.raises(ConfigError, match=r"model\.hidden: got 128, but the checkpoint .* has 64"):
        validate(parse(text, "t").override(["model.hidden=128"]))
    other = _checkpoint(tmp_path / "other.safetensors", {"kind": kind})
    with pytest.raises(ConfigError, match="names no architecture"):
        config(SIMD.replace("init: dense", f"init: {other}"))
    _checkpoint(other, {"kind": "other"})
    with pytest.raises(ConfigError, match="of another kind"):
        config(SIMD.replace("init: dense", f"init: {other}"))
    other.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ConfigError, match="bytes long, its header promises"):
        config(SIMD.replace("init: dense", f"init: {other}"))
    other.write_bytes(b"short")
    with pytest.raises(ConfigError, match="not a safetensors file"):
        config(SIMD.replace("init: dense", f"init: {other}"))


def test_keeping_the_diagonal_is_refused_exactly_when_pruning_would_refuse_it() -> None:
    import torch

    from bench.errors import UsageError
    from bench.sparsity.groups import TileGroups
    from bench.sparsity.tile import Tile
    from tests.sparsity.magnitude import magnitude_masks

    weight = torch.randn(3 * 24, 24)
    for tile in ("1x1", "4x1", "16x1", "1x8", "column", "gate-column"):
        for sparsity in (0.0, 0.3, 0.8, 0.9, 0.95, 0.96):
            changes = [
                f"prune.tile={tile}",
                f"prune.sparsity={sparsity}",
                "prune.keep_diagonal=true",
            ]
            changes += ["reg.kind=none", "model.hidden=24"]
            refused = [False, False]
            try:
                validate(parse(SIMD, "t").override(changes))
            except ConfigError:
                refused[0] = True
            try:
                groups = TileGroups({"w": (72, 24)}, Tile.parse(tile), {"w": 3}, keep_diagonal=["w"])
                magnitude_masks(groups, {"w": weight}, sparsity)
            except UsageError:
                refused[1] = True
            assert refused[0] == refused[1], (tile, sparsity)


def test_matrices_are_those_of_the_model() -> None:
    from bench.config.matrices import VocoderShape
    from bench.models.wavernn import MATRICES, Arch, SubbandWaveRNN

    shape = {"hidden": 24, "head": 8, "mixtures": 3, "embed": 5, "cond": 7, "bands": 4}
    state = SubbandWaveRNN(Arch(**shape)).state_dict()
    known = VocoderShape(**shape).matrices()
    assert {name: (matrix.state_key, matrix.gates) for name, matrix in known.items()} == MATRICES
    assert all(tuple(state[matrix.state_key].shape) == matrix.shape for matrix in known.values())
    assert VocoderShape() == VocoderShape(**{key: getattr(Arch(), key) for key in vars(VocoderShape())})


def test_every_key_is_documented() -> None:
    from bench.config.reference import key_rows

    rows = key_rows()
    assert all(row.meaning and row.values for row in rows)
    documented = {row.key for row in rows}
    assert set(flatten(config())) <= documented
    by_key = {row.key: row for row in rows}
    assert by_key["prune.sparsity"].values == "number, >= 0, <= 1"
    assert by_key["reg.kind"].default == "none"


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ("prune.scope=2:4 prune.sparsity=0.7", "prune.sparsity", "'2:4' prunes exactly 0.5"),
        ("prune.scope=4:2 prune.sparsity=0.5", "prune.scope", "of 2 tiles, 4 cannot be kept"),
        ("prune.scope=2:4 prune.sparsity=0.5 reg.kind=none reg.tile=null prune.tile=row", "prune.scope", "4 tiles in"),
        ("prune.scope=every", "prune.scope", "every"),
        ("prune.gate_sparsity=[0.5,0.5,0.9]", "prune.gate_sparsity", "needs prune.scope 'gate'"),
        ("prune.gate_sparsity=[0.5,0.9] prune.scope=gate", "prune.gate_sparsity", "got 2 numbers"),
        ("prune.gate_sparsity=[0.5,0.5,0.9] prune.scope=gate", "prune.sparsity", "the mean of prune.gate_sparsity is"),
        ("prune.gate_sparsity=[0.5,0.5,1.1] prune.scope=gate", "prune.gate_sparsity", "from 0 to 1"),
        ("prune.tile=unit prune.sparsity=1.0 reg.target=0.1", "prune.sparsity", "leaves none of 256 hidden units"),
        ("prune.tile=unit prune.matrices=[head.out]", "prune.matrices", "no slice of head.out.weight"),
        ("prune.tile=unit prune.scope=gate", "prune.scope", "one budget"),
        ("prune.tile=column prune.permute=true", "prune.permute", "makes no difference"),
        ("prune.kind=second_order", "prune.schedule", "which prune.kind 'second_order' cannot follow"),
        ("prune.kind=unify prune.tile=unit", "prune.kind", "not on hidden units"),
        ("prune.options={alpha: 1}", "prune.options.alpha", "'magnitude' has no such option"),
        ("prune.kind=rigl prune.options={alpha: 2}", "prune.options.alpha", "expected a number from 0 to 1"),
        ("prune.kind=rigl prune.options={alfa: 0.1}", "prune.options.alfa", "did you mean 'alpha'"),
        ("pack.delta=0.1", "pack.delta", "needs a dense one or tile column"),
        (
            "reg.kind=skip_update reg.tile=null recover.kind=rewind",
            "recover.kind",
            "goes back to weights without skip_update's own",
        ),
        ("pack.delta=0.1 pack.format=int8", "pack.delta", "needs pack.format f32"),
        ("tune.key=train.lr", "tune.key", "nothing to try"),
        ("tune.size=3 tune.grid=[1,2]", "tune.size", "leave one of the two out"),
        ("tune.size=1", "tune.size", "at least 2"),
        ("tune.size=3 tune.key=train.steps", "tune.key", "expected the dotted key of a number"),
        ("tune.grid=[-0.1,0.1] tune.key=train.lr", "tune.grid", "train.lr: got -0.1, expected greater than 0"),
        ("tune.grid=[0.5,1.5]", "tune.grid", "reg.target: got 1.5, expected less than 1"),
        ("tune.grid=[-1,1] tune.key=reg.lambda", "tune.grid", "reg.lambda: got -1, expected a number >= 0"),
        (
            "prune.kind=rigl tune.grid=[2,2.5] tune.key=prune.options.every",
            "tune.grid",
            "prune.options.every: got 2.5, expected a whole number",
        ),
        ("tune.size=3 reg.lambda=0.1", "tune.key", "changes nothing unless reg.lambda is 'controlled'"),
        ("tune.grid=[1,2] tune.key=reg.lambda reg.kind=none reg.tile=null", "tune.key", "while reg.kind is 'none'"),
        ("tune.size=3 tune.key=train.lr", "tune.grid", "bounds are only known of reg.target"),
        ("prune.kind=none prune.sparsity=null reg.lambda=0.1 recover.kind=rewind", "recover.kind", "no mask to keep"),
    ],
)
def test_methods_and_structures_that_cannot_go_together(change: str, key: str, message: str) -> None:
    words = [word.replace("~", " ") for word in change.replace(": ", ":~").split()]
    with pytest.raises(ConfigError) as caught:
        validate(parse(SIMD, "t.yaml").override(words))
    found = [(".".join(map(str, problem.keys)), problem.message) for problem in caught.value.problems]
    assert any(name == key and message in text for name, text in found), found


def test_what_is_tuned_is_resolved_to_a_key_and_values() -> None:
    made = validate(parse(SIMD, "t").override(["tune.size=3"]))
    assert made.tune.key == "reg.target"
    assert made.tune.grid == (0.02, 0.1, 0.5)
    assert validate(parse(SIMD, "t").override(["tune.grid=[0.1,0.2]", "tune.key=train.lr"])).tune.size == 2
