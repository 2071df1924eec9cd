"""How a run begins: inside the venv of setup.sh, with nothing of the caller's environment that could steer a client."""

import logging
import os
import signal
import sys
from pathlib import Path


def enter_venv(folder: Path) -> None:
    """Goes on inside the interpreter of the venv, which has the clients and the servers."""
    venv = folder / "venv"
    if Path(sys.prefix).resolve() == venv.resolve():
        return
    python = venv / "bin" / "python"
    if not python.exists():
        setup = Path(__file__).resolve().parent.parent / "setup.sh"
        print(f"there is no {python}; run this first: {setup} {folder}", file=sys.stderr)
        sys.exit(3)
    os.execv(python, [str(python), "-B", os.path.abspath(sys.argv[0]), *sys.argv[1:]])


def clean_environment() -> None:
    """Proxies and keys of the caller's environment must not reach the clients."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("OPENAI_", "ANTHROPIC_")):
            del os.environ[name]
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # What a failing client leaves behind is told by the check's own line.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def end_in_order() -> None:
    """SIGTERM and SIGHUP unwind like Ctrl-C, so that every started process is ended."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
