"""A headless Chromium driven through a pipe: what a person's browser does with a page, without another dependency."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("LANEWISE_CHROMIUM") or next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SCREENSHOTS = Path(os.environ.get("LANEWISE_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots"))
PATIENCE_S = 90.0
"""A loaded host is slow, not wrong."""


class Browser:
    """One browser process; `call` speaks the DevTools protocol."""

    def __init__(self, process: "subprocess.Popen[bytes]", to: int, fro: int) -> None:
        self._process, self._to, self._from = process, to, fro
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            answer = self._read(end - time.monotonic())
            if answer is None:
                continue
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)
        raise AssertionError(f"{method}: no answer in {PATIENCE_S:g} s")

    def drain(self, seconds: float = 0.2) -> None:
        """Take in the events that have come."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            event = self._read(left)
            if event is not None:
                self.events.append(event)

    def _read(self, timeout_s: float) -> dict[str, Any] | None:
        if b"\0" not in self._rest:
            if not select.select([self._from], [], [], max(0.0, timeout_s))[0]:
                return None
            data = os.read(self._from, 1 << 20)
            assert data, f"the browser ended (exit code {self._process.poll()})"
            self._rest += data
        if b"\0" not in self._rest:
            return None
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))


class Page:
    """A tab, or a frame of one that runs in a process of its own."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression, awaited if it is a promise; an exception there is one here."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"].get("exception", {}).get("description")
        return answer["result"].get("value")

    def wait(self, script: str, patience_s: float = PATIENCE_S) -> Any:
        """Poll an expression until it is true."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            found = self.run(script)
            if found:
                return found
            self.browser.drain(0.05)
        raise AssertionError(f"not true in {patience_s:g} s: {script}")

    def open(self, url: str, ready: str = "document.readyState === 'complete'") -> None:
        self.call("Page.navigate", url=url)
        self.wait(f"location.href !== 'about:blank' && {ready}")

    def size(self, width: int, height: int = 900) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def hover(self, selector: str) -> None:
        """Move the real mouse onto the middle of an element."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def key(self, name: str) -> None:
        """Press and release a key that has a name, on what has the focus."""
        codes = {"Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=codes[name])

    def screenshot(self, name: str, whole: bool = True) -> Path:
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        path.write_bytes(base64.b64decode(picture))
        return path

    def complaints(self) -> list[str]:
        """Errors and warnings of scripts, of the console and of the security policy, so far."""
        self.browser.drain()
        found = []
        for event in self.browser.events:
            what, params = event.get("method"), event.get("params", {})
            if what == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"].get("exception", {}).get("description")))
            elif what == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(json.dumps([argument.get("value") for argument in params["args"]]))
            elif what == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """Addresses that were asked for, data and blob addresses aside."""
        self.browser.drain()
        asked = [e for e in self.browser.events if e.get("method") == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in asked]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]


def frame_with(page: Page, text: str) -> Page:
    """The frame whose document says `text`: one of the page's own process, or of a process of its own."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        page.browser.drain(0.3)
        attached = [e["params"] for e in page.browser.events if e.get("method") == "Target.attachedToTarget"]
        sessions = [params["sessionId"] for params in attached if params["targetInfo"]["type"] == "iframe"]
        for session in sessions:
            frame = Page(page.browser, session)
            try:
                if frame.run(f"document.body && document.body.textContent.includes({json.dumps(text)})"):
                    return frame
            except AssertionError:
                continue
    raise AssertionError(f"no frame says {text!r}")


@contextmanager
def browsing(profile: Path) -> Iterator[Callable[[], Page]]:
    """Start a browser; yields a function that opens a tab."""
    assert CHROMIUM is not None
    read_end, to = os.pipe()
    fro, write_end = os.pipe()
    arguments = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio",
        "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-first-run",
        "--disable-background-timer-throttling", f"--user-data-dir={profile}", "--remote-debugging-pipe",
    ]  # fmt: skip
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (read_end, write_end)]  # 3 and 4 may be in use

    def connect() -> None:
        for number, end in zip((3, 4), theirs, strict=True):
            os.dup2(end, number)

    process = subprocess.Popen(
        arguments, close_fds=False, preexec_fn=connect, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for end in theirs:
        os.close(end)
    os.close(read_end)
    os.close(write_end)
    browser = Browser(process, to, fro)

    def tab() -> Page:
        browser.events.clear()
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(browser, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        return page

    try:
        yield tab
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(to)
        os.close(fro)


@contextmanager
def mlflow_server(root: Path) -> Iterator[str]:
    """MLflow's own server on the study's store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}",
               "--default-artifact-root", (root / "artifacts").as_uri(), "--host", "127.0.0.1", "--port", str(port),
               "--workers", "1"]  # fmt: skip
    lean = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=lean, start_new_session=True, **quiet)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2)
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
