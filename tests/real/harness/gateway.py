"""One corelane process under test: its start lines, its addresses and its counters."""

import json
import re
import subprocess
import threading
import time
from pathlib import Path

from .processes import Fleet, NotReady, get

START_LINES = {
    "url": re.compile(r"^listening (http://\S+)"),
    "admin": re.compile(r"^admin (http://\S+)"),
    "ready": re.compile(r"^ready (.+)"),
}


class Gateway:
    """`corelane run` on free ports, up from the moment the constructor returns: in front of one upstream, or as a
    configuration file says."""

    def __init__(self, fleet: Fleet, name: str, binary: str, io: str, upstream: str, config: Path | None = None):
        self.name, self.fleet, self.upstream = name, fleet, upstream
        self.start: dict[str, str] = {}
        self._all_seen = threading.Event()
        command = [binary, "run", *(["--config", config] if config else ["--upstream", upstream]), "--io", io]
        command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        self.process = fleet.start(name, command, stderr=subprocess.PIPE)
        threading.Thread(target=self._follow, daemon=True).start()
        if not self._all_seen.wait(10) or len(self.start) < len(START_LINES):
            missing = sorted(set(START_LINES) - set(self.start))
            raise NotReady(f"{name}: no start line for {', '.join(missing)}\n{fleet.tail(name)}")
        driver = re.search(r"\bio=(\S+)", self.start["ready"])
        if driver is None or driver[1] != io:
            raise NotReady(f"{name}: asked for io={io}, got {self.start['ready']!r}")

    def _follow(self) -> None:
        """Keeps stderr flowing into the log for as long as the process lives."""
        with self.fleet.log_of(self.name).open("ab") as log:
            for line in self.process.stderr:
                log.write(line)
                log.flush()
                for key, pattern in START_LINES.items():
                    if found := pattern.match(line.decode(errors="replace").strip()):
                        self.start.setdefault(key, found[1])
                if len(self.start) == len(START_LINES):
                    self._all_seen.set()
        self._all_seen.set()  # the end of the stream: nothing more will come

    @property
    def url(self) -> str:
        return self.start["url"]

    @property
    def authority(self) -> str:
        return self.url.removeprefix("http://")

    def stats(self) -> dict:
        return json.loads(get(self.start["admin"] + "/stats"))

    def endpoint_sum(self) -> dict[str, int]:
        """The counters of all endpoints together; this gateway has one."""
        endpoints = [one for cluster in self.stats()["endpoints"].values() for one in cluster.values()]
        return {key: sum(one[key] for one in endpoints) for key in ("requests", "connects", "reused", "in_flight")}

    def in_flight(self) -> int:
        stats = self.stats()
        routes = sum(route["in_flight"] for route in stats["routes"].values())
        return routes + self.endpoint_sum()["in_flight"]

    def await_stats(self, holds, limit: float = 5):
        """Polls a reading until `holds` accepts it (counters are gathered from lanes); returns the last one."""
        deadline = time.monotonic() + limit
        while True:
            reading = self.endpoint_sum() | {"total_in_flight": self.in_flight()}
            if holds(reading) or time.monotonic() > deadline:
                return reading
            time.sleep(0.05)
