# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Chromium without a screen, driven by as much of W3C WebDriver as the tests need."""

from __future__ import annotations

import base64
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import typing as t
import urllib.error
import urllib.request

DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever asks for a name gets none: nothing leaves the machine.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--hide-scrollbars",
)
#: WebDriver's code points for keys (W3C WebDriver, section 17.4.2).
KEYS = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Ctrl": "\ue009",
    "PageUp": "\ue00e",
    "PageDown": "\ue00f",
    "End": "\ue010",
    "Home": "\ue011",
    "Left": "\ue012",
    "Up": "\ue013",
    "Right": "\ue014",
    "Down": "\ue015",
}
#: Seconds that a command may take.
_PATIENCE = 60
#: No proxy of this machine is asked for what is on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class BrowserError(Exception):
    """The driver refused a command."""


class Chromium:
    """A browser with one page; everything of it is gone when the block is left."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="wgsd-chromium-")
        self._driver: subprocess.Popen[str] | None = None
        self._session = ""

    def __enter__(self) -> Chromium:
        assert DRIVER, "chromedriver is missing: tools/setup tests/browser/apt-packages.txt"
        try:
            self._driver = subprocess.Popen(
                [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            assert self._driver.stdout is not None
            for line in self._driver.stdout:
                found = re.search(r"started successfully on port (\d+)", line)
                if found:
                    break
            else:
                raise BrowserError("chromedriver has ended")
            self._session = f"http://127.0.0.1:{found[1]}/session"
            options = {"args": [*FLAGS, f"--user-data-dir={self._profile.name}"]}
            wanted = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            made = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
            self._session += f"/{made['sessionId']}"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._driver is not None:
            if self._session:
                with contextlib.suppress(OSError, BrowserError):
                    self._ask("DELETE", "")
            self._driver.terminate()
            self._driver.communicate(timeout=20)
        self._profile.cleanup()

    def open(self, path: pathlib.Path, *, width: int = 1280, height: int = 900) -> None:
        """Open a file in a window of that size, in CSS pixels."""
        self.size(width, height)
        self.logs()
        self.requests()
        self._ask("POST", "/url", {"url": path.resolve().as_uri()})

    def size(self, width: int, height: int) -> None:
        """Make the page as wide and as high as a window, or as a phone."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def media(self, **features: str) -> None:
        """Set media features, such as ``prefers_color_scheme="dark"``."""
        told = [{"name": n.replace("_", "-"), "value": v} for n, v in features.items()]
        self.devtools("Emulation.setEmulatedMedia", features=told)

    def run(self, script: str, *arguments: t.Any) -> t.Any:
        """Run a function's body in the page and return what it returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys: str, held: str = "") -> None:
        """Press keys one after the other, with another one held down meanwhile."""
        steps = [
            {"type": kind, "value": KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        if held:
            around = [{"type": kind, "value": KEYS[held]} for kind in ("keyDown", "keyUp")]
            steps = [around[0], *steps, around[1]]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": steps}]})

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{next(iter(found.values()))}/click", {})

    def screenshot(self, path: pathlib.Path) -> None:
        """Write what is seen to a PNG file."""
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def logs(self) -> list[str]:
        """Return what the console has been told since the last time, and violations of policy."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Return what the page has asked others for since the last time, its policy permitting."""
        entries = self._ask("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        blocked = {
            message["params"]["requestId"]
            for message in messages
            if message["method"] == "Network.loadingFailed"
            and message["params"].get("blockedReason") == "csp"
        }
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
            and message["params"]["requestId"] not in blocked
        ]

    def tree(self) -> list[dict[str, t.Any]]:
        """Return what screen readers are told, as nodes with ``role`` and ``name``."""
        nodes = self.devtools("Accessibility.getFullAXTree")["nodes"]
        return [
            {part: node.get(part, {}).get("value", "") for part in ("role", "name", "description")}
            for node in nodes
            if not node.get("ignored")
        ]

    def devtools(self, command: str, **parameters: t.Any) -> t.Any:
        """Give a command of the DevTools protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _ask(self, method: str, path: str, data: t.Any = None) -> t.Any:
        request = urllib.request.Request(
            self._session + path,
            method=method,
            data=None if data is None else json.dumps(data).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with _OPENER.open(request, timeout=_PATIENCE) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as exc:
            raise BrowserError(exc.read().decode(errors="replace")[:2000]) from None
