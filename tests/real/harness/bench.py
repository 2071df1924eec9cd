"""The bench: three real origins and a gateway in front of each."""

import sys
from dataclasses import dataclass
from pathlib import Path

from .gateway import Gateway
from .processes import Fleet, free_port

SERVERS = Path(__file__).resolve().parent.parent / "servers"


@dataclass
class Bench:
    chat: Gateway  # LitServe with the OpenAI API
    echo: Gateway  # bare uvicorn
    kserve: Gateway  # MLServer
    dead: Gateway  # nobody listens behind this one
    folder: Path  # where setup.sh put the clients
    scratch: Path  # for files of this run

    @property
    def gateways(self) -> list[Gateway]:
        return [self.chat, self.echo, self.kserve, self.dead]

    @classmethod
    def start(cls, fleet: Fleet, binary: str, io: str, folder: Path, scratch: Path) -> "Bench":
        urls = start_origins(fleet, scratch)
        urls["dead"] = f"http://127.0.0.1:{free_port()}"
        gateways = {name: Gateway(fleet, f"corelane-{name}", binary, io, url) for name, url in urls.items()}
        return cls(**gateways, folder=folder, scratch=scratch)


def start_origins(fleet: Fleet, scratch: Path) -> dict[str, str]:
    """Starts them side by side, returns their URLs once all are ready."""
    journal = scratch / "journal"
    journal.mkdir()
    ports = {name: free_port() for name in ("chat", "echo", "kserve")}
    fleet.start("chat", [sys.executable, SERVERS / "chat.py", "--port", ports["chat"], "--journal", journal])
    fleet.start("echo", [sys.executable, SERVERS / "echo.py", "--port", ports["echo"]])
    start_mlserver(fleet, scratch, ports["kserve"])
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    for name, ready in {"chat": "/health", "echo": "/plain", "kserve": "/v2/models/identity/ready"}.items():
        fleet.await_http(name, urls[name] + ready, limit=45)
    return urls


def start_mlserver(fleet: Fleet, scratch: Path, port: int) -> None:
    env = {
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(free_port()),
        "MLSERVER_METRICS_PORT": str(free_port()),
    }
    # It leaves folders in its working directory, which is therefore not the repository.
    mlserver = Path(sys.executable).with_name("mlserver")
    fleet.start("kserve", [mlserver, "start", SERVERS / "kserve"], cwd=scratch, env=env)
