"""The page in a real browser, from disk. Screenshots stay in build/screenshots."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Page
from synthetic import ARMS, ENHANCER_ARMS, Arm, StudyFiles, edit_record

from bench.config.flat import flatten
from bench.config.schema import TrialConfig
from reports.build import build_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (set LANEWISE_CHROMIUM to one)")
SPOKEN = "document.querySelector('.utterance')"
SET = "(selector, place, value, event) => { const e = document.querySelectorAll(selector)[place]; e.value = value; \
e.dispatchEvent(new Event(event)); }"
MIDDLE = "(e) => { const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }"
HOSTILE = '<img src=x onerror="alert(1)">' + "very-long-" * 12


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("studies")
    arms = {"vocoder": [*ARMS, Arm(HOSTILE, 0.2, 0.06, "8x1", 0.5)], "enhancer": list(ENHANCER_ARMS)}
    for task, mine in arms.items():
        StudyFiles(root / task, audio=3, hidden=32, task=task, utterances=16).write(mine)
    pruned = {"kind": "magnitude", "tile": "16x1", "sparsity": 0.7}
    whole = flatten(TrialConfig.model_validate({"prune": pruned}))  # as many lines as a real trial's
    for path in root.glob("vocoder/trials/*/record.json"):
        edit_record(path.parent, lambda record: record.update(params=whole | record["params"]))
    return {task: build_report(root / task) for task in arms}


@pytest.fixture(params=["vocoder", "enhancer"])
def page(request: pytest.FixtureRequest, tab: Callable[[], Page], reports: dict[str, Path]) -> Iterator[Page]:
    opened = tab()
    opened.size(1440)
    opened.open(reports[request.param].as_uri())
    yield opened
    assert opened.complaints() == []
    assert opened.requests() == [reports[request.param].as_uri()]


def put(page: Page, selector: str, value: object, event: str = "input", place: int = 0) -> None:
    """What typing or dragging does to an input."""
    page.run(f"({SET})({json.dumps(selector)}, {place}, {json.dumps(value)}, {json.dumps(event)})")


def press(page: Page, key: str, modifiers: int = 0) -> None:
    """A digit or the space bar on the keyboard, for whatever has the focus."""
    code = "Space" if key == " " else f"Digit{key}"
    for kind, text in (("keyDown", {"text": key}), ("keyUp", {})):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=ord(key),
                  modifiers=modifiers, **text)  # fmt: skip


def click(page: Page, selector: str) -> None:
    """The real mouse, which moves the focus too."""
    page.hover(selector)
    x, y = page.run(f"(({MIDDLE})(document.querySelector({json.dumps(selector)})))")
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def names(page: Page) -> list[str]:
    found = page.run("[...document.querySelector('table.sortable').tBodies[0].rows].filter(r => !r.hidden)"
                     ".map(r => r.cells[0].title)")  # fmt: skip
    return [str(name) for name in found]


def test_table_sorts_and_filters(page: Page) -> None:
    before = names(page)
    heading = "document.querySelector('table.sortable thead').rows[0].cells[1]"
    page.run(f"{heading}.querySelector('button').click()")
    values = page.run("[...document.querySelectorAll('tr.arm')].map(r => Number(r.cells[1].dataset.sort))")
    assert values == sorted(values)
    page.run(f"{heading}.querySelector('button').click()")
    assert page.run(f"{heading}.getAttribute('aria-sort')") == "descending"
    assert (
        page.run("[...document.querySelectorAll('tr.arm')].map(r => Number(r.cells[1].dataset.sort))") == values[::-1]
    )
    put(page, "#filter", "random s")
    assert [name for name in before if name.startswith("random")] == names(page)
    assert page.run("document.getElementById('shown').textContent").startswith("1 of ")
    hidden = "getComputedStyle(document.querySelector('th.minor')).display"
    assert page.run(hidden) == "none"
    page.run("document.getElementById('every').click()")
    assert page.run(hidden) == "table-cell"


def test_pointing_at_an_arm_tells_its_configuration(page: Page) -> None:
    page.hover("#fig-quality_vs_rtf .point[data-arm='1']")
    told = page.wait("!document.getElementById('tip').hidden && document.getElementById('tip').textContent")
    assert told.splitlines()[0] in names(page)
    assert "model.hidden = 32" in told
    assert page.run("document.querySelector('tr.pointed').dataset.arm") == "1"
    page.screenshot("tooltip", whole=False)
    page.run("document.querySelector('#fig-quality_vs_rtf .point').focus()")
    assert page.run("document.getElementById('tip').textContent.length") > 20
    page.run("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert page.run("document.getElementById('tip').hidden")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (375, 700)])
def test_a_configuration_is_told_whole(page: Page, width: int, height: int, request: pytest.FixtureRequest) -> None:
    task = request.node.callspec.params["page"]
    page.size(width, height)
    points = page.run("document.querySelectorAll('#fig-quality_vs_rtf .point').length")
    lines = set()
    for place in range(points):
        page.run(f"document.querySelectorAll('#fig-quality_vs_rtf .point')[{place}].focus()")
        told = page.run("""(() => { const tip = document.getElementById('tip'), box = tip.getBoundingClientRect();
          return { lines: tip.textContent.split('\\n').length, sides: [box.left, box.top, box.right, box.bottom],
                   cut: [tip.scrollWidth - tip.clientWidth, tip.scrollHeight - tip.clientHeight] }; })()""")
        assert max(told["cut"]) <= 0
        left, top, right, bottom = told["sides"]
        assert min(left, top, width - right, height - bottom) >= 0, "inside the window"
        lines.add(told["lines"])
    page.screenshot(f"tooltip-{task}-{width}", whole=False)
    assert max(lines) > (40 if task == "vocoder" else 10)


def test_the_tab_key_stops_once_in_a_figure_and_arrows_go_on(page: Page) -> None:
    figure = "#fig-quality_vs_rtf"
    assert page.run(f"document.querySelectorAll('{figure} [tabindex=\"0\"].point').length") == 1
    page.run(f"document.querySelector('{figure} .point').focus()")
    told = set()
    for _ in range(3):
        told.add(page.run("document.getElementById('tip').textContent"))
        page.key("ArrowRight")
        assert page.run("document.activeElement.classList.contains('point')")
    assert len(told) == 3


def test_masks_follow_the_slider(page: Page) -> None:
    page.run("document.getElementById('history').scrollIntoView({behavior: 'instant'})")
    shown = "document.querySelector('.matrix').dataset.shown"
    page.wait(f"{shown} === '120'")
    filled = """(() => { const c = document.querySelector('.gate canvas').cloneNode();
      const pen = c.getContext('2d', {willReadFrequently: true});
      pen.drawImage(document.querySelector('.gate canvas'), 0, 0);
      const data = pen.getImageData(0, 0, c.width, c.height).data;
      return data.filter((value, at) => at % 4 === 3 && value > 0).length / (data.length / 4); })()"""
    end = page.run(filled)
    assert page.run("document.querySelector('.gate figcaption').textContent").endswith(f"{100 * end:.1f} % kept")
    words = page.run("document.querySelector('.zeros').textContent")
    page.run("document.querySelector('.step').focus()")
    page.key("Home")
    page.wait(f"{shown} === '0'")
    assert page.run(filled) == 1
    assert page.run("document.querySelector('.zeros').textContent") != words
    page.key("ArrowRight")
    page.wait(f"{shown} === '30'")
    assert end < page.run(filled) < 1
    assert page.run("document.querySelector('.step').getAttribute('aria-valuetext')") == "step 30 of 120"
    corner = "document.querySelector('.zoom figcaption').textContent"
    before = page.run(corner)
    page.run("document.querySelectorAll('.gate canvas')[1].focus()")
    page.key("ArrowRight")
    assert page.run(corner) != before
    page.screenshot("masks", whole=False)


def test_switching_systems_keeps_the_position(page: Page) -> None:
    page.run(f"{SPOKEN}.scrollIntoView({{behavior: 'instant'}})")
    page.wait(f"{SPOKEN}.dataset.drawn")
    lit = page.run(f"""(() => {{
      const canvas = {SPOKEN}.querySelector('canvas');
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      return data.some((value) => value > 90 && value < 255);
    }})()""")
    assert lit, "the spectrogram is not black"
    page.run(f"{SPOKEN}.querySelector('.loop').click()")
    page.run(f"{SPOKEN}.querySelector('.play').click()")
    page.wait(f"Number({SPOKEN}.dataset.at) > 0.15")
    jump = page.run(f"""(async () => {{
      const at = () => Number({SPOKEN}.dataset.at), frame = () => new Promise(requestAnimationFrame);
      await frame(); await frame();
      const before = at(), clock = performance.now();
      {SPOKEN}.querySelectorAll('.pick')[2].click();
      await frame(); await frame();
      return [before, at(), (performance.now() - clock) / 1000];
    }})()""")
    before, after, passed = jump
    assert after >= before or after < 0.3, "it goes on, or has begun again"
    if after >= before:
        assert after - before <= passed + 0.25
    assert page.run(f"{SPOKEN}.dataset.heard") == "2"
    page.run(f"{SPOKEN}.dispatchEvent(new KeyboardEvent('keydown', {{key: '1'}}))")
    assert page.run(f"{SPOKEN}.dataset.heard") == "0"
    put(page, ".utterance .seek", 0.5)
    assert page.run(f"Number({SPOKEN}.querySelector('.seek').value)") >= 0.45
    page.run(f"{SPOKEN}.querySelector('.play').click()")
    assert page.run(f"{SPOKEN}.dataset.playing") == "no"


def test_all_systems_run_in_step_and_one_is_heard_at_the_matched_level(
    tab: Callable[[], Page], reports: dict[str, Path]
) -> None:
    page = tab()
    page.call("Page.addScriptToEvaluateOnNewDocument", source="""
      window.gains = []; window.starts = []; window.stops = 0;
      const make = AudioContext.prototype.createGain;
      AudioContext.prototype.createGain = function () { const g = make.call(this); window.gains.push(g); return g; };
      const { start } = AudioBufferSourceNode.prototype, { stop } = AudioScheduledSourceNode.prototype;
      AudioBufferSourceNode.prototype.start = function (...at) { window.starts.push(at); start.apply(this, at); };
      AudioScheduledSourceNode.prototype.stop = function (...at) { window.stops++; stop.apply(this, at); };
    """)  # fmt: skip
    page.open(reports["vocoder"].as_uri())
    page.run(f"{SPOKEN}.querySelector('.loop').click()")
    seen = page.run(f"""(async () => {{
      const row = {SPOKEN}, seek = row.querySelector('.seek');
      row.querySelector('.play').click();
      while (!(Number(row.dataset.at) > 0)) await new Promise(requestAnimationFrame);
      const played = window.starts.splice(0), seconds = Number(row.querySelector('.clock').textContent.split(' ')[2]);
      row.querySelectorAll('.pick')[3].click();
      const switched = [window.starts.length, window.stops];
      seek.value = 0.5;
      seek.dispatchEvent(new Event('input'));
      return {{ played, switched, sought: window.starts.slice(), stops: window.stops, seconds }};
    }})()""")
    systems = page.run(f"{SPOKEN}.querySelectorAll('.player').length")
    for begun, offset in ((seen["played"], 0), (seen["sought"], seen["seconds"] / 2)):
        assert len(begun) == systems
        assert begun == [begun[0]] * systems, "one moment and one place in the signal for all"
        assert begun[0][1] == pytest.approx(offset, abs=0.06)
    assert seen["switched"] == [0, 0], "a switch turns gains and leaves what runs alone"
    assert seen["stops"] == systems
    gain_db = float(page.run(f"{SPOKEN}.querySelectorAll('.player')[3].dataset.gain"))
    page.wait(f"Math.abs(window.gains.slice(-{systems})[3].gain.value - {10 ** (gain_db / 20)}) < 0.01")
    heard = page.run(f"window.gains.slice(-{systems}).filter(g => g.gain.value > 0.01).length")
    assert heard == 1


def test_blind_mode_hides_names_and_votes_name_them(page: Page) -> None:
    page.run("document.getElementById('blind').click()")
    shown = page.run(f"[...{SPOKEN}.querySelectorAll('.name')].map(e => e.textContent)")
    assert sorted(shown) == [chr(65 + i) for i in range(len(shown))]
    put(page, ".utterance .score", 73, place=1)
    page.run("window.saved = []")
    page.run("HTMLAnchorElement.prototype.click = function () { window.saved.push([this.download, this.href]); }; 0")
    page.run("document.getElementById('votes').click()")
    ballot = "document.getElementById('ballot').value"
    second = page.run(f"{SPOKEN}.querySelectorAll('.name')[1].textContent")
    assert page.run(ballot).splitlines()[1].endswith(f",(blind),{second},73"), "what is shown keeps the names"
    assert page.run(f"getComputedStyle({SPOKEN}.querySelector('canvas')).display") == "none"
    page.run("document.getElementById('listen').scrollIntoView({behavior: 'instant'})")
    page.screenshot("blind", whole=False)
    system = page.run(f"{SPOKEN}.querySelectorAll('.player')[1].dataset.system")
    page.run("document.getElementById('blind').click()")
    page.run("document.getElementById('votes').click()")
    name = page.run(f"{SPOKEN}.querySelectorAll('.name')[{system}].textContent")
    header, vote = csv.reader(page.run(ballot).splitlines())  # names may hold quotes and commas
    assert header == ["utterance", "system", "shown_as", "score"]
    assert vote[1:] == [name, second, "73"]
    assert page.run("window.saved[0][0]") == "votes.csv"
    assert page.run("window.saved[0][1].startsWith('blob:')")


def test_nothing_tells_the_systems_apart_in_blind_mode(page: Page) -> None:
    order = "[...document.querySelectorAll('.utterance')].map(r => [...r.querySelectorAll('.player')]{})"
    systems, told = order.format(".map(p => p.dataset.system)"), page.run("document.getElementById('rows').innerText")
    before = page.run(systems)
    page.run("document.getElementById('blind').click()")
    assert page.run(systems) != before, "the order of the document, which the tab key follows"
    rows = page.run(order.format(".map(p => [p.querySelector('.name').textContent, p.offsetTop, p.offsetLeft])"))
    for players in rows:
        assert [letter for letter, *_ in players] == [chr(65 + place) for place in range(len(players))]
        assert [place for _, *place in players] == sorted(place for _, *place in players), "and the order on the screen"
    known = page.run("[...document.querySelectorAll('input.which + .clip')].map(e => e.textContent)")
    assert all(name in told for name in known)
    assert not [name for name in known if name in page.run("document.getElementById('rows').innerText")]
    page.run("document.querySelector('details.which').open = true")
    page.run("document.querySelectorAll('input.which').forEach(box => box.click())")
    assert page.run("document.querySelectorAll('.player[hidden]').length") == 0
    page.run(f"{SPOKEN}.focus()")
    press(page, "2")
    assert page.run(f"{SPOKEN}.dataset.heard === {SPOKEN}.querySelectorAll('.player')[1].dataset.system")
    page.run("document.getElementById('blind').click()")
    assert page.run(systems) == before
    assert all(name in page.run("document.getElementById('rows').innerText") for name in known)
    page.run("document.querySelector('input.which').click()")
    assert page.run("document.querySelectorAll('.player[hidden]').length") == len(before)
    page.run("document.getElementById('blind').click()")
    first = f"{SPOKEN}.querySelector('.player:not([hidden]) .name').textContent"
    assert page.run(first) == "A", "letters are for the systems that are shown"


def test_every_blind_session_is_a_new_ballot(page: Page) -> None:
    page.run("HTMLAnchorElement.prototype.click = () => {}; 0")
    page.run("document.getElementById('blind').click()")
    systems = page.run(f"{SPOKEN}.querySelectorAll('.player').length")
    for place in reversed(range(systems)):
        put(page, ".utterance .score", 73, place=place)
    page.run("document.getElementById('votes').click()")
    votes = page.run("document.getElementById('ballot').value").splitlines()[1:]
    assert [vote.split(",")[2] for vote in votes] == [chr(65 + place) for place in range(systems)], "by letter"
    page.run("document.getElementById('blind').click(); document.getElementById('blind').click()")
    assert page.run("document.getElementById('ballot').hidden")
    rated = "[...document.querySelectorAll('.vote')].map(v => v.querySelector('input').value + v.textContent)"
    assert set(page.run(rated)) == {"50score not rated"}
    page.run("document.getElementById('votes').click()")
    assert page.run("document.getElementById('ballot').value") == "utterance,system,shown_as,score\n"


def test_keys_work_wherever_the_focus_is(page: Page) -> None:
    heard, playing = f"{SPOKEN}.dataset.heard", f"{SPOKEN}.dataset.playing"
    loop = f"{SPOKEN}.querySelector('.loop').checked"
    for number, selector in enumerate((".seek", ".loop", ".play", ".pick"), start=2):
        page.run(f"{SPOKEN}.querySelector('{selector}').focus()")
        press(page, str(number))
        assert page.run(heard) == str(number - 1), selector
    click(page, ".utterance .player[data-system='1'] canvas")
    assert page.run(heard) == "1"
    press(page, "4")
    assert page.run(heard) == "3"
    press(page, "5", modifiers=2)
    assert page.run(heard) == "3", "with control it is the browser's"
    page.run(f"{SPOKEN}.querySelector('.loop').focus()")
    press(page, " ")
    assert page.run(loop)
    assert page.run(playing) != "yes"
    page.run(f"{SPOKEN}.querySelector('.seek').focus()")
    press(page, " ")
    page.wait(f"{playing} === 'yes'")
    page.run(f"{SPOKEN}.querySelector('.play').focus()")
    press(page, " ")
    page.wait(f"{playing} === 'no'")
    page.browser.drain(0.2)
    assert page.run(playing) == "no", "once, not by the button and by the key"
    click(page, ".utterance .player[data-system='2'] .pick")
    press(page, " ")
    page.wait(f"{playing} === 'yes'")
    page.run(f"{SPOKEN}.querySelector('.player[data-system=\"4\"] .pick').focus()")
    press(page, " ")
    assert page.run(heard) == "4", "on another name it presses that button"
    assert page.run(playing) == "yes"


def test_rows_are_ranked_by_the_metric_chosen(page: Page) -> None:
    options = page.run("[...document.getElementById('rank-by').options].map(o => o.value)")
    put(page, "#rank-by", options[-1], "change")
    key = json.dumps(options[-1])
    losses = page.run(f"[...document.querySelectorAll('.utterance')].map(r => JSON.parse(r.dataset.losses)[{key}])")
    assert losses == sorted(losses, reverse=True)
    whys = page.run("[...document.querySelectorAll('.utterance')].map(r => r.querySelector('.why').textContent)")
    assert [why.split()[0] for why in whys] == ["largest", "median", "smallest"]
    ranks = [int(why.split("(rank ")[1].split()[0]) for why in whys]
    assert ranks == sorted(ranks)
    assert all(f"of 16), {options[-1].split(',')[0]} " in why for why in whys)
    page.run("document.querySelector('input.which').click()")
    assert page.run("[...document.querySelectorAll('.player[data-system=\"0\"]')].every(p => p.hidden)")


def too_wide(page: Page, width: int) -> list[str]:
    found = page.run(f"""[...document.querySelectorAll('main *, #tip')].filter(e => !e.closest('.scroll, svg, [hidden]')
      && e.getBoundingClientRect().right > {width} + 1).map(e => e.outerHTML.slice(0, 80))""")
    return [str(element) for element in found]


@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows(page: Page, width: int, scheme: str, request: pytest.FixtureRequest) -> None:
    page.scheme(scheme)
    page.size(width)
    task = request.node.callspec.params["page"]
    page.run("document.querySelectorAll('.utterance').forEach(e => e.scrollIntoView({behavior: 'instant'}))")
    page.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    page.run("HTMLAnchorElement.prototype.click = () => {}; 0")
    for blind in (False, True):
        if blind:
            page.run("document.getElementById('blind').click(); document.getElementById('votes').click()")
        page.run("document.querySelector('#fig-quality_vs_rtf .point').focus({preventScroll: true})")
        page.run("scrollTo(0, 0)")
        page.screenshot(f"{task}-{scheme}-{width}{'-blind' if blind else ''}")
        assert page.run("!document.getElementById('tip').hidden")
        assert page.run("document.getElementById('ballot').hidden") != blind
        assert page.run("document.documentElement.scrollWidth") <= width
        assert too_wide(page, width) == []
    ink, paper = page.run("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    assert (sum(map(int, ink[4:-1].split(","))) > sum(map(int, paper[4:-1].split(",")))) == (scheme == "dark")
