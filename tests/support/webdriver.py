"""Chromium without a window, driven by the protocol of WebDriver: what a page shows, and what went wrong in it."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1100,800",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--mute-audio",
)  # fmt: skip


class Browser:
    """A browser; skips the test where there is none.

    Args:
        folder: for its log.
        options: more of Chromium's.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        driver, chromium = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
        if driver is None or chromium is None:
            pytest.skip("needs Chromium and its driver: apt install chromium chromium-driver")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._process = subprocess.Popen([driver, f"--port={port}", f"--log-path={folder / 'driver.log'}"])
        self._at = f"http://127.0.0.1:{port}"
        self._wait_for_driver()
        wanted = {
            "goog:chromeOptions": {"binary": chromium, "args": [*OPTIONS, *options]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        session = self._ask("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._at += f"/session/{session['sessionId']}"

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(self._at, method="DELETE"), timeout=30) as answer:
                answer.read()
        finally:
            self._process.terminate()
            self._process.wait(30)

    def open(self, url: str) -> None:
        """Goes to a page."""
        self._ask("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns, which may await something."""
        whole = f"const done = arguments[arguments.length - 1]; (async (...arguments) => {{ {script} }})(...arguments)"
        whole += ".then((found) => done([found]), (error) => done({error: String(error)}))"
        found = self._ask("/execute/async", {"script": whole, "args": list(arguments)})
        assert isinstance(found, list), found
        return found[0]

    def until(self, script: str, seconds: float = 60.0) -> Any:
        """What an expression gives once it is true."""
        end = time.monotonic() + seconds
        while not (found := self.run(f"return {script}")):
            assert time.monotonic() < end, f"never true: {script}; the page says {self.text()!r}"
            time.sleep(0.1)
        return found

    def text(self) -> str:
        """What stands on the page."""
        return self.run("return document.body.innerText")

    def find(self, selector: str) -> str:
        """The id of an element."""
        return self._ask("/element", {"using": "css selector", "value": selector})[_ELEMENT]

    def type(self, selector: str, text: str) -> None:
        """Types into a field, or gives a file to one that takes files."""
        self._ask(f"/element/{self.find(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        """Clicks something."""
        self._ask(f"/element/{self.find(selector)}/click", {})

    def click_at(self, selector: str, *places: tuple[int, int]) -> None:
        """Clicks at places of an element, in pixels from its middle."""
        origin = {_ELEMENT: self.find(selector)}
        steps: list[dict[str, Any]] = []
        for x, y in places:
            steps += [{"type": "pointerMove", "origin": origin, "x": x, "y": y, "duration": 0}]
            steps += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
            steps += [{"type": "pause", "duration": 600}]  # or two clicks were a double one
        self._ask("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": steps}]})

    def picture(self, path: Path) -> None:
        """Writes what is seen."""
        with urllib.request.urlopen(f"{self._at}/screenshot", timeout=60) as answer:
            path.write_bytes(base64.b64decode(json.load(answer)["value"]))

    def complaints(self) -> list[dict[str, Any]]:
        """What the console said so far, since it was asked last, with its `level`."""
        return self._ask("/se/log", {"type": "browser"})

    def requests(self) -> list[str]:
        """The addresses that were asked for, since this was asked last."""
        events = [json.loads(each["message"])["message"] for each in self._ask("/se/log", {"type": "performance"})]
        sent = [each["params"] for each in events if each["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self._at}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(error.read().decode()) from None

    def _wait_for_driver(self) -> None:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{self._at}/status", timeout=5) as answer:
                    answer.read()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the driver of Chromium does not start")
