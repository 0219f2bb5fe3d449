"""MLflow's own pages on a finished study, in a real browser: what a team looks at. Screenshots in build/screenshots.

The study is a real one, trained, packed, timed and scored here; only its size is a test's.
"""

import json
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from browser import CHROMIUM, Page, frame_with
from finished import ARMS, STEPS, Finished, finished
from test_browser import SPOKEN, names, put, too_wide

from bench.trial.view import view_path

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (set LANEWISE_CHROMIUM to one)")
PATIENCE_S = 180.0
PLAYER = """(() => { const within = (root) => [...root.querySelectorAll('*')].flatMap((e) =>
  [...(e.tagName === 'AUDIO' && e.duration > 0 ? [e] : []), ...(e.shadowRoot ? within(e.shadowRoot) : [])]);
  return within(document)[0]; })()"""
"""The audio element, which MLflow hides in a shadow tree; it is there once it knows how long the clip is."""
SAYS = "document.body && document.body.innerText.includes({})"
ROWS = """[...document.querySelectorAll('.ag-center-cols-container .ag-row')].map((row) => Object.fromEntries(
  [...row.querySelectorAll('.ag-cell')].map((cell) => [cell.getAttribute('col-id'), cell.innerText])))"""
"""The table of runs: cells by column."""
MASKS = "[...document.images].filter(i => decodeURIComponent(i.src).includes('/masks~') && i.naturalWidth > 0)"
PRUNED = f"""{MASKS}.map((image) => {{ const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0);
  const red = pen.getImageData(0, 0, canvas.width, canvas.height).data.filter((value, at) => at % 4 === 0);
  return red.filter((value) => value > 235).length / red.length; }})"""
"""The white share of each mask's picture."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    with finished(tmp_path_factory.mktemp("finished")) as found:
        yield found


@pytest.fixture
def page(tab: Callable[[], Page]) -> Page:
    opened = tab()
    opened.size(1600, 1000)
    return opened


def shown(page: Page, url: str, *words: str) -> None:
    page.open(url, "true")
    for word in words:
        page.wait(SAYS.format(json.dumps(word)), PATIENCE_S)


def test_the_table_has_useful_columns_and_says_what_was_found(page: Page, study: Finished) -> None:
    page.size(3600, 1000)  # the table draws no columns that are out of sight
    shown(page, study.url + view_path(study.experiment), "3 matching runs", study.headline)
    page.wait(f"{ROWS}.length === 3", PATIENCE_S)
    page.browser.drain(2)
    page.screenshot("mlflow-table", whole=False)
    rows = {row["params.`arm`"]: row for row in page.run(ROWS)}
    assert set(rows) == set(ARMS)
    for arm, record in study.records.items():
        cells = rows[arm]
        for key in ("quality.nll_bits", "quality.pesq_wb", "quality.estoi", "speed.rtf", "speed.vs_dense", "size.bytes",
                    "sparsity.achieved"):  # fmt: skip
            assert float(cells[f"metrics.`{key}`"]) == pytest.approx(record["metrics"][key]), (arm, key)
        assert cells["params.`prune.tile`"] == (record["params"]["prune.tile"] or "none")
        assert cells["attributes.`Models`"] == arm
        assert cells["tags.`lanewise.state`"] == "complete"
        assert cells["tags.`lanewise.timing_verdict`"] == record["tags"]["lanewise.timing_verdict"]
        assert cells["attributes.`Dataset`"].startswith("clips")


def test_the_charts_compare_the_arms_and_open_at_the_final_masks(page: Page, study: Finished) -> None:
    page.size(1600, 3200)
    shown(page, study.url + view_path(study.experiment, charts=True), "Trade-offs", "Arms", "Training", "Masks",
          "masks/gru.recurrent")  # fmt: skip
    page.wait(f"{MASKS}.length >= 2", PATIENCE_S)
    page.browser.drain(3)
    page.screenshot("mlflow-charts", whole=False)
    sparsities = sorted(study.records[arm]["metrics"]["sparsity.achieved"] for arm in ARMS[1:])
    assert sorted(page.run(PRUNED)) == pytest.approx(sparsities, abs=0.02)  # the borders of gates are not white
    assert page.run("[...document.querySelectorAll('input[type=number]')].map(i => i.value)") == [str(STEPS)]


def test_two_runs_side_by_side(page: Page, study: Finished) -> None:
    asked = {"runs": [study.runs[arm] for arm in ARMS[1:]], "experiments": [study.experiment]}
    query = urlencode({key: json.dumps(value, separators=(",", ":")) for key, value in asked.items()})
    shown(page, f"{study.url}/#/compare-runs?{query}", *ARMS[1:], "8x1", "16x1", "curve.valid_loss")
    page.screenshot("mlflow-compare", whole=False)


def test_a_run_describes_itself_and_its_audio_can_be_heard(page: Page, study: Finished) -> None:
    run = study.runs["simd-8x1-s90"]
    shown(page, study.page(run), "bits a sample", "simd-8x1-s90", "clips")
    page.screenshot("mlflow-run", whole=False)
    (clip,) = study.records["simd-8x1-s90"]["artifacts"]["audio"]
    shown(page, study.page(run, f"/artifacts/{clip}"), clip.removeprefix("audio/"))
    page.wait(f"{PLAYER} !== undefined", PATIENCE_S)
    assert page.run(f"(async () => {{ const a = {PLAYER}; await a.play(); return !a.paused; }})()")
    page.wait(f"{PLAYER}.currentTime > 0.2")
    page.screenshot("mlflow-audio", whole=False)


def test_the_report_inside_the_artifact_view(page: Page, study: Finished) -> None:
    page.size(1440, 1000)
    page.open(study.page(study.parent, "/artifacts/report.html"))
    frame = frame_with(page, "Lanewise report")
    for domain in ("Runtime", "Log"):  # each tells what has been complained of before, too
        frame.call(f"{domain}.enable")
    frame.wait("document.readyState === 'complete' && document.querySelectorAll('svg .point').length > 0")
    assert frame.run("document.querySelector('h1').textContent") == "small-demo"
    frame.run("document.querySelector('table.sortable thead button').click()")
    assert frame.run("document.querySelector('th[aria-sort]') !== null")
    frame.run(f"{SPOKEN}.scrollIntoView({{behavior: 'instant'}})")
    frame.wait(f"{SPOKEN}.dataset.drawn")
    frame.run(f"{SPOKEN}.querySelector('.play').click()")
    frame.wait(f"Number({SPOKEN}.dataset.at) > 0.1")
    frame.run(f"{SPOKEN}.querySelectorAll('.pick')[2].click()")
    assert frame.run(f"{SPOKEN}.dataset.heard") == "2"
    put(frame, "#filter", "8x1")
    assert names(frame) == ["simd-8x1-s90"]
    page.screenshot("mlflow-report", whole=False)
    page.run("document.querySelector('iframe').style.width = '375px'")
    frame.wait("innerWidth === 375")
    assert frame.run("document.documentElement.scrollWidth") <= 375
    assert too_wide(frame, 375) == []
    assert frame.run("performance.getEntriesByType('resource').map(e => e.name)") == []
    frame.browser.drain()
    frame.browser.events = [e for e in frame.browser.events if e.get("sessionId") == frame.session]
    assert frame.complaints() == []
    frame.run("document.getElementById('votes').click()")  # the sandbox may refuse the download, with a complaint
    assert frame.run("document.getElementById('ballot').value").startswith("utterance,system")
