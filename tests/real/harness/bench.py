"""The bench: three real origins and a gateway in front of each."""

import socket
import sys
from pathlib import Path

from .gateway import Gateway
from .processes import Fleet, free_port

SERVERS = Path(__file__).resolve().parent.parent / "servers"
READY = {"chat": "/health", "echo": "/plain", "kserve": "/v2/models/identity/ready"}


RULES = """
[limits]
body = "100KiB"
[cluster.faulty]
endpoints = ["{faulty}"]
timeout = {{ first_byte = "500ms" }}
[cluster.dead]
endpoints = ["{dead}"]
[[route]]
name = "faulty"
match = {{ path = "/v1/chat/completions", method = "POST", body = {{ model = ["ok", "reset", "stall", "garbage", "truncate"] }} }}
to = "faulty"
[[route]]
name = "dead"
match = {{ path = "/v1/chat/completions", method = "POST", body = {{ model = "dead" }} }}
to = "dead"
"""


class Bench:
    """What the checks get: the gateways, by what is behind them, and where to find and put files."""

    chat: Gateway  # LitServe with the OpenAI API
    echo: Gateway  # bare uvicorn
    kserve: Gateway  # MLServer
    dead: Gateway  # nobody listens behind this one
    rules: Gateway  # routes by model in front of servers/faulty.py

    def __init__(self, fleet: Fleet, binary: str, io: str, folder: Path, scratch: Path):
        self.fleet, self.binary, self.io = fleet, binary, io
        self.folder, self.scratch = folder, scratch

    @property
    def gateways(self) -> list[Gateway]:
        return [self.chat, self.echo, self.kserve, self.dead, self.rules]

    def start(self) -> None:
        urls = self._start_origins()
        # Bound and never listened at: nobody else is given the port.
        self.nobody = socket.socket()
        self.nobody.bind(("127.0.0.1", 0))
        urls["dead"] = f"http://127.0.0.1:{self.nobody.getsockname()[1]}"
        for name, url in urls.items():
            setattr(self, name, Gateway(self.fleet, f"corelane-{name}", self.binary, self.io, url))
        self.rules = self._start_rules(urls["dead"])

    def _start_rules(self, dead: str) -> Gateway:
        port = free_port()
        self.fleet.start("faulty", [sys.executable, SERVERS / "faulty.py", "--port", port])
        url = f"http://127.0.0.1:{port}"
        self.fleet.await_http("faulty", url + "/executed/nobody", limit=10)
        config = self.scratch / "rules.toml"
        config.write_text(RULES.format(faulty=url, dead=dead))
        return Gateway(self.fleet, "corelane-rules", self.binary, self.io, url, config)

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
