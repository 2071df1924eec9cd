"""The bench: three real origins and a gateway in front of each."""

import sys
from pathlib import Path

from .gateway import Gateway
from .processes import Fleet, free_port

SERVERS = Path(__file__).resolve().parent.parent / "servers"
READY = {"chat": "/health", "echo": "/plain", "kserve": "/v2/models/identity/ready"}


class Bench:
    """What the checks get: the gateways, by what is behind them, and where to find and put files."""

    chat: Gateway  # LitServe with the OpenAI API
    echo: Gateway  # bare uvicorn
    kserve: Gateway  # MLServer
    dead: Gateway  # nobody listens behind this one

    def __init__(self, fleet: Fleet, binary: str, io: str, folder: Path, scratch: Path):
        self.fleet, self.binary, self.io = fleet, binary, io
        self.folder, self.scratch = folder, scratch

    @property
    def gateways(self) -> list[Gateway]:
        return [self.chat, self.echo, self.kserve, self.dead]

    def start(self) -> None:
        urls = self._start_origins()
        urls["dead"] = f"http://127.0.0.1:{free_port()}"
        for name, url in urls.items():
            setattr(self, name, Gateway(self.fleet, f"corelane-{name}", self.binary, self.io, url))

    def _start_origins(self) -> dict[str, str]:
        """Starts them side by side, returns their URLs once all are ready."""
        journal = self.scratch / "journal"
        journal.mkdir()
        ports = {name: free_port() for name in READY}
        start = self.fleet.start
        start("chat", [sys.executable, SERVERS / "chat.py", "--port", ports["chat"], "--journal", journal])
        start("echo", [sys.executable, SERVERS / "echo.py", "--port", ports["echo"]])
        self._start_mlserver(ports["kserve"])
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        for name, path in READY.items():
            self.fleet.await_http(name, urls[name] + path, limit=45)
        return urls

    def _start_mlserver(self, port: int) -> None:
        env = {
            "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(free_port()),
            "MLSERVER_METRICS_PORT": str(free_port()),
        }
        # It leaves folders in its working directory, which is therefore not the repository.
        program = Path(sys.executable).with_name("mlserver")
        self.fleet.start("kserve", [program, "start", SERVERS / "kserve"], cwd=self.scratch, env=env)
