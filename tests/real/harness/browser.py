"""A real Chromium without a screen, spoken to by the DevTools protocol."""

import base64
import itertools
import json
import shutil
import time
from pathlib import Path

from websockets.sync.client import connect

from .processes import Fleet, NotReady, get

PROGRAMS = ["chromium", "chromium-browser", "google-chrome"]


class Page:
    """One page of a browser: it is opened, looked at, and clicked."""

    def __init__(self, fleet: Fleet, folder: Path, name: str = "chromium"):
        program = next((found for found in map(shutil.which, PROGRAMS) if found), None)
        if program is None:
            raise NotReady("there is no Chromium; install the package chromium")
        profile = folder / f"{name}-profile"
        shutil.rmtree(profile, ignore_errors=True)
        # Without a sandbox of its own: in a container as root there is none to be had, and it sees our page alone.
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"]
        where = [f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = fleet.start(name, [program, *flags, *quiet, *where])
        port_file, deadline = profile / "DevToolsActivePort", time.monotonic() + 30
        while not (port_file.exists() and port_file.read_text().count("\n")):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotReady(f"{name} did not start\n{fleet.tail(name)}")
            time.sleep(0.05)
        port = port_file.read_text().split("\n")[0]
        pages = json.loads(get(f"http://127.0.0.1:{port}/json/list"))
        url = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self.socket = connect(url, max_size=None, proxy=None)
        self.ids = itertools.count(1)
        # What the page complained of: its console, exceptions, requests that failed or were forbidden.
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        number = next(self.ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=20))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._hear(message)

    def _hear(self, event: dict) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning", "assert"):
                self.complaints.append(f"console.{told['type']}: {told['args']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(f"exception: {told['exceptionDetails']}")
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"log: {told['entry']['text']} {told['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])

    def view(self, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def ask(self, expression: str):
        """The value of an expression of JavaScript."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def until(self, expression: str, limit: float) -> float:
        """Returns once the expression is true, and tells after how many seconds."""
        begun = time.monotonic()
        while not self.ask(expression):
            if time.monotonic() - begun > limit:
                raise AssertionError(f"not within {limit} s: {expression}")
            time.sleep(0.05)
        return time.monotonic() - begun

    def picture(self, file: Path) -> None:
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        file.write_bytes(base64.b64decode(told["data"]))

    def close(self) -> None:
        self.socket.close()
