"""LitServe with the OpenAI chat API and no model: the prompt says what to answer, a journal shows who stopped."""

import argparse
import asyncio
import hashlib
from pathlib import Path

import litserve as ls
from fastapi import BackgroundTasks, HTTPException
from fastapi.responses import JSONResponse
from litserve.specs.openai import ChatCompletionRequest

PACE = 0.05  # seconds between two tokens
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    422: "unprocessable_entity_error",
    429: "rate_limit_error",
}


class Journal:
    """One file per named generation: a dot per token, then how it ended. The HTTP process and the worker share it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def _path(self, name: str, suffix: str) -> Path:
        if not name.replace("-", "").isalnum():
            raise HTTPException(400, "a generation's name is letters, digits and dashes")
        return self.folder / f"{name}.{suffix}"

    def write(self, name: str, text: str) -> None:
        with self._path(name, "tokens").open("a") as file:
            file.write(text)

    def leave(self, name: str) -> None:
        self._path(name, "left").touch()

    def left(self, name: str) -> bool:
        return self._path(name, "left").exists()

    def read(self, name: str) -> dict:
        try:
            text = self._path(name, "tokens").read_text()
        except FileNotFoundError:
            return {"state": "unknown", "tokens": 0}
        state = text.lstrip(".") or "running"
        return {"state": state, "tokens": text.count(".")}


class Spec(ls.OpenAISpec):
    """LitServe's OpenAI API, which also answers asked-for errors and tells the worker when a client has gone."""

    def __init__(self, journal: Journal):
        super().__init__()
        self.journal = journal

    async def chat_completion(self, request: ChatCompletionRequest, background_tasks: BackgroundTasks):
        kind, _, status = (request.model or "").partition("-")
        if kind == "status" and status.isdigit():
            return refusal(int(status))
        return await super().chat_completion(request, background_tasks)

    async def streaming_completion(self, request: ChatCompletionRequest, pipe_responses: list):
        whole = False
        try:
            async for event in super().streaming_completion(request, pipe_responses):
                yield event
            whole = True
        finally:
            # LitServe lets a worker run on for a client that has left; a real engine aborts, and so does this one.
            if request.user and not whole:
                self.journal.leave(request.user)


class Chat(ls.LitAPI):
    """`count N` streams the numbers 1 to N; `digest` answers with the length and SHA-256 of all the rest."""

    def setup(self, device):
        self.journal = self.spec.journal

    def decode_request(self, request: ChatCompletionRequest):
        content = request.messages[-1].content
        parts = [content] if isinstance(content, str) else [part_text(part) for part in content]
        command, _, rest = "".join(parts).partition(" ")
        return command, rest, request.user

    async def predict(self, prompt):
        command, rest, name = prompt
        if command == "digest":
            data = rest.encode()
            yield f"{len(data)} {hashlib.sha256(data).hexdigest()}"
        elif command == "count":
            async for token in self.count(int(rest), name):
                yield token
        else:
            yield "no such command"

    async def count(self, total: int, name: str | None):
        if name:
            self.journal.write(name, "")
        for number in range(1, total + 1):
            if name and self.journal.left(name):
                self.journal.write(name, "stopped")
                return
            await asyncio.sleep(PACE)
            if name:
                self.journal.write(name, ".")
            yield f"{number} "
        if name:
            self.journal.write(name, "finished")


def part_text(part) -> str:
    if part.type == "text":
        return part.text
    return part.image_url if isinstance(part.image_url, str) else part.image_url.url


def refusal(status: int) -> JSONResponse:
    error = {
        "message": f"asked for {status}",
        "type": ERROR_TYPES.get(status, "server_error"),
        "param": None,
        "code": f"origin_{status}",
    }
    headers = {"retry-after": "7"} if status in (429, 503) else {}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--journal", type=Path, required=True, help="an existing folder")
    given = options.parse_args()

    journal = Journal(given.journal)
    server = ls.LitServer(Chat(spec=Spec(journal), enable_async=True), accelerator="cpu", workers_per_device=1)

    @server.app.get("/v1/models")
    async def models():
        return {"object": "list", "data": [{"id": "counter", "object": "model", "created": 0, "owned_by": "corelane"}]}

    @server.app.get("/generations/{name}")
    async def generation(name: str):
        return journal.read(name)

    server.run(host="127.0.0.1", port=given.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
