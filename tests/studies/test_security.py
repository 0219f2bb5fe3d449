"""What nobody should be able to do with a study: run code, read or write elsewhere, see a password, script a page."""

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bench.cli.main import main
from bench.config import yaml_lines
from bench.config.load import from_dict
from bench.config.yaml_lines import ConfigError
from bench.errors import UsageError
from bench.trial import mirror
from bench.trial.cache import ALLOWED, shared_folder
from bench.trial.record import Record
from bench.trial.run import run_trial
from bench.urls import redact
from reports.loader import load_study
from studies.checks import check_caches
from studies.database import check_url
from studies.folder import StudyFolder
from studies.plan import plan
from studies.processes import worker_command, worker_environment
from studies.run import Options, run_study
from studies.study_file import load

Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]
SECRET = "postgresql://me:s3cret@host/db"


def calls() -> list[tuple[str, str]]:
    """Return (file, dotted name) of everything that the source imports or calls."""
    found = []
    for package in ("bench", "studies", "reports"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                where = path.relative_to(ROOT).as_posix()
                if isinstance(node, ast.Import):
                    found += [(where, alias.name) for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    found += [(where, f"{node.module}.{alias.name}") for alias in node.names]
                elif isinstance(node, ast.Call):
                    words = {keyword.arg: keyword.value for keyword in node.keywords}
                    allowed = words.get("allow_pickle")
                    if isinstance(allowed, ast.Constant) and allowed.value:
                        found.append((where, "allow_pickle"))
                    shell = words.get("shell")
                    if isinstance(shell, ast.Constant) and shell.value:
                        found.append((where, "shell=True"))
                    found.append((where, ast.unparse(node.func)))
    return found


def test_nothing_unpickles_or_evaluates() -> None:
    forbidden = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch.load", "eval", "exec"}
    forbidden |= {"allow_pickle", "shell=True", "os.system", "yaml.unsafe_load", "yaml.full_load"}
    hits = [(where, name) for where, name in calls() if name in forbidden or name.split(".")[0] in forbidden]
    assert hits == [("bench/config/plugins.py", "exec")], "plug-ins are code that a user names, beside the study file"
    assert {where for where, name in calls() if name == "yaml.load"} == {"bench/config/yaml_lines.py"}
    assert issubclass(yaml_lines._Loader, yaml.SafeLoader)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("name: evil\narms: !!python/object/apply:os.system ['touch evil']\n")
    with pytest.raises((ConfigError, UsageError)):
        load(path)
    assert not Path("evil").exists()


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/cron.d/x", "a/b", "..", ".hidden", ""])
def test_a_study_stays_in_its_folder(study_file: Write, name: str) -> None:
    with pytest.raises(ConfigError, match="expected a word of letters"):
        load(study_file("arms: {a: {}}\n", base=f"name: {json.dumps(name)}\n"))


@pytest.mark.parametrize(
    ("place", "allow", "fine"),
    [
        ("{runs}/tiny/cache2", None, True),
        ("{runs}/shared", None, False),
        ("{runs}/tiny/../../elsewhere", None, False),
        ("{runs}/tiny/link/elsewhere", None, False),
        ("~/.ssh", "{runs}/shared", False),
        ("{runs}/shared/mine", "{runs}/shared", True),
    ],
)
def test_a_study_writes_where_it_may(
    study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, allow: str | None, fine: bool
) -> None:
    runs = tmp_path / "runs"
    (runs / "tiny").mkdir(parents=True)
    (runs / "tiny" / "link").symlink_to(tmp_path)
    monkeypatch.delenv(ALLOWED, raising=False)
    if allow:
        monkeypatch.setenv(ALLOWED, allow.format(runs=runs))
        assert worker_environment(None, None) == {ALLOWED: allow.format(runs=runs)}
    named = place.format(runs=runs)
    study = load(study_file(f"arms:\n  a:\n    data.cache: {named}\nbaselines: false\n"))
    folder = StudyFolder(runs / "tiny")
    if fine:
        check_caches(study, plan(study), folder)
        assert shared_folder(named, folder.cache) == Path(named)
        return
    with pytest.raises(ConfigError, match=r"tiny\.yaml:7: data\.cache: .* outside the study's folder .*--allow-cache"):
        run_study(study, folder, Options())
    assert not folder.study_file.exists()
    config = from_dict({"data": {"cache": named}})
    with pytest.raises(UsageError, match=r"data\.cache"):  # a sampled trial, or one of no study
        run_trial(config, runs / "t", cache=folder.cache)


def test_the_command_line_allows_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study_file: Write) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ALLOWED, "")
    path = study_file("arms: {a: {data.cache: shared}}\nbaselines: false\n")
    words = ["sweep", "run", str(path), "--dry-run"]
    assert _exit_code(words) == 2
    assert _exit_code([*words, "--allow-cache", "shared"]) == 0


def _exit_code(words: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return int(caught.value.code or 0)


@pytest.mark.parametrize("name", ["../../secret", "/etc/hostname", "audio/../../../secret"])
def test_a_record_shows_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    from tests.reports.synthetic import StudyFiles, edit_record

    root = StudyFiles(tmp_path / "study", audio=0).write()
    (tmp_path / "secret").write_text("s")
    folder = next(iter(sorted(root.glob("trials/*"))))

    def point_outside(record: dict[str, object]) -> None:
        record["utterances"][0]["audio"] = name  # type: ignore[index]
        record["artifacts"] = {"model": name}

    edit_record(folder, point_outside)
    assert name not in {str(path) for path in load_study(root).audio["path"]}
    assert load_study(root).audio[load_study(root).audio["path"].map(lambda p: "secret" in str(p))].empty
    record = Record(study={}, trial={}, state="complete", artifacts={"model": name})
    assert [path for path, _ in mirror.artifacts(record, folder)] == [folder / "record.json"]


def test_passwords_are_masked() -> None:
    assert redact(f"cannot open {SECRET}?x=1") == "cannot open postgresql://***@host/db?x=1"
    assert redact("host=h?password=s3cret&x") == "host=h?password=***&x"
    assert redact("sqlite:////a/b.db") == "sqlite:////a/b.db"
    with pytest.raises(UsageError) as error:
        check_url("nonsense://me:s3cret@host/db")
    assert "s3cret" not in str(error.value)


def test_no_password_on_a_command_line(tmp_path: Path) -> None:
    assert "s3cret" not in " ".join(worker_command(StudyFolder(tmp_path)))
    assert worker_environment(SECRET, None) == {"LANEWISE_STORAGE": SECRET}


def test_names_are_escaped_in_the_page(tmp_path: Path) -> None:
    from reports.build import build_report
    from tests.reports.synthetic import ARMS, Arm, StudyFiles

    evil = '<script>alert("x")</script>'
    files = StudyFiles(tmp_path / "study", audio=0, about={"about": evil})
    page = build_report(files.write((*ARMS[:2], Arm(evil, 0.1, 0.1, "1x1", 0.5, evil)))).read_text()
    assert evil not in page
    assert "&lt;script&gt;" in page
