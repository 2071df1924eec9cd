"""The embedding server, and what it counts."""

import json
import sys
from pathlib import Path

from .processes import Fleet, free_port, get

SERVER = Path(__file__).resolve().parent.parent / "servers" / "embed.py"


def start(fleet: Fleet) -> str:
    """Starts it, returns its URL once the model is ready."""
    port = free_port()
    # One thread for the model: the other programs of a run need the other cores.
    fleet.start("embed", [sys.executable, SERVER, "--port", port], env={"OPENBLAS_NUM_THREADS": "1"})
    url = f"http://127.0.0.1:{port}"
    fleet.await_http("embed", url + "/health", limit=45)
    return url


class Counted:
    """What the server sees within a `with` block: requests, runs of the model, texts and tokens in them."""

    def __init__(self, url: str):
        self.url = url

    def __enter__(self):
        self.before = self._read()
        return self

    def __exit__(self, *_):
        now = self._read()
        self.requests, self.runs, self.texts, self.tokens = (
            now[name] - self.before[name] for name in ("requests", "runs", "texts", "tokens")
        )

    def _read(self) -> dict[str, int]:
        return json.loads(get(self.url + "/stats"))
