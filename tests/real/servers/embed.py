"""LitServe with the OpenAI embeddings API and all-MiniLM-L6-v2; each HTTP request is one run of it, one at a time."""

import argparse
import multiprocessing

import litserve as ls
from fastapi.responses import JSONResponse
from litserve.specs.openai_embedding import EmbeddingRequest
from minilm import MiniLM

LONGEST = 2000  # characters of a text


class Counts:
    """What happened, shared by the HTTP process and the worker."""

    NAMES = ("requests", "runs", "texts", "tokens")

    def __init__(self):
        spawn = multiprocessing.get_context("spawn")  # as LitServe starts them
        self.values = {name: spawn.Value("q", 0) for name in self.NAMES}

    def add(self, **more: int) -> None:
        for name, number in more.items():
            with self.values[name].get_lock():
                self.values[name].value += number

    def read(self) -> dict[str, int]:
        return {name: value.value for name, value in self.values.items()}


class Spec(ls.OpenAIEmbeddingSpec):
    """LitServe's API, which also refuses what OpenAI refuses."""

    def __init__(self, counts: Counts):
        super().__init__()
        self.counts = counts

    async def embeddings_endpoint(self, request: EmbeddingRequest):
        self.counts.add(requests=1)
        if request.input == []:
            return refusal("no input")
        for number, text in enumerate(request.ensure_list()):
            if not isinstance(text, str):
                return refusal(f"input {number} is not a text")
            if not text or len(text) > LONGEST:
                return refusal(f"input {number} has {len(text)} characters, not 1 to {LONGEST}")
        return await super().embeddings_endpoint(request)


class Embed(ls.LitAPI):
    def setup(self, device):
        self.counts = self.spec.counts
        self.model = MiniLM()
        self.model.embed(["warm"])

    def decode_request(self, request: EmbeddingRequest) -> list[str]:
        return request.ensure_list()

    def predict(self, texts: list[str]):
        vectors, tokens = self.model.embed(texts)
        self.counts.add(runs=1, texts=len(texts), tokens=tokens)
        return vectors, tokens

    def encode_response(self, output) -> dict:
        vectors, tokens = output
        return {"embeddings": vectors, "prompt_tokens": tokens, "total_tokens": tokens}


def refusal(why: str) -> JSONResponse:
    error = {"message": why, "type": "invalid_request_error", "param": "input", "code": None}
    return JSONResponse({"error": error}, status_code=400)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    given = options.parse_args()

    counts = Counts()
    server = ls.LitServer(Embed(spec=Spec(counts)), accelerator="cpu", workers_per_device=1)

    @server.app.get("/stats")
    async def stats():
        return counts.read()

    where = {"host": "127.0.0.1", "port": given.port}
    server.run(**where, num_api_servers=1, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
