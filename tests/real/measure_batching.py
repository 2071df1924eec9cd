"""What batching gives in front of a real model on CPU: clients of one text each, with it and without."""

import argparse
import asyncio
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from harness import embedding
from harness.entry import clean_environment, end_in_order, enter_venv
from harness.gateway import Gateway
from harness.processes import Fleet

CONFIG = """
[cluster.embed]
endpoints = ["{upstream}"]
{batch}
[[route]]
to = "embed"
"""
BATCH = 'batch = {{ protocol = "openai-embeddings", max_items = {items}, max_wait = "{wait}" }}'
COLUMNS = ("clients", "batching", "inputs/s", "p50 ms", "p99 ms", "calls/request", "CPU us/request")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corelane", required=True, metavar="PATH", help="a release binary")
    parser.add_argument("--io", choices=["io_uring", "epoll"], default="epoll", help="the gateway's io driver (epoll)")
    parser.add_argument("--dir", required=True, type=Path, help="the folder given to setup.sh")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64, 256], help="how many at once, in turn")
    parser.add_argument("--seconds", type=float, default=5, help="for each turn of a line at least (5)")
    parser.add_argument("--turns", type=int, default=3, help="turns of each line, in which off and on take turns (3)")
    parser.add_argument("--words", type=int, nargs=2, default=[3, 12], help="how many a text has, from and to (3 12)")
    parser.add_argument("--max-items", type=int, default=32)
    parser.add_argument("--max-wait", default="20ms")
    return parser.parse_args()


class Load:
    """Clients that ask one text each, again and again, until there are enough answers."""

    def __init__(self, url: str, clients: int, seconds: float, words: list[int]):
        self.url, self.clients, self.seconds, self.words = url + "/v1/embeddings", clients, seconds, words
        self.answers = self.counted = 0
        self.latencies: list[float] = []
        self.begun = self.lasted = 0.0

    async def run(self) -> None:
        import aiohttp  # in the venv only

        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
            await asyncio.gather(*(self.client(session, random.Random(seed)) for seed in range(self.clients)))

    async def client(self, session, chance: random.Random) -> None:
        # Nobody is cut off at the end, so that nothing of one line is still under way in the next.
        while not self.lasted:
            body = {"model": "minilm", "input": text(chance, self.words)}
            sent = time.perf_counter()
            async with session.post(self.url, json=body) as answer:
                told = await answer.json()
                if answer.status != 200 or len(told["data"]) != 1:
                    raise AssertionError(f"status {answer.status}: {str(told)[:200]}")
            self.note(sent, time.perf_counter())

    def note(self, sent: float, now: float) -> None:
        self.answers += 1
        if not self.begun:
            # The first round opens connections and fills the queue.
            self.begun = now if self.answers >= self.clients else 0.0
        elif not self.lasted:
            self.counted += 1
            if sent >= self.begun:
                self.latencies.append(now - sent)
            if now - self.begun >= self.seconds and len(self.latencies) >= 2 * self.clients:
                self.lasted = now - self.begun

    def percentile(self, share: float) -> float:
        return sorted(self.latencies)[int(share * (len(self.latencies) - 1))] * 1000


def text(chance: random.Random, size: list[int]) -> str:
    words = "the a river city model gateway request train of under morning small green and answer walks to".split()
    return " ".join(chance.choices(words, k=chance.randint(*size)))


def cpu_time(process) -> float:
    """Seconds of all its threads, to the nanosecond."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in threads) / 1e9


class Turn:
    """What came of one turn of a line."""

    def __init__(self, through: Gateway, load: Load):
        before = cpu_time(through.process)
        with embedding.Counted(through.upstream) as seen:
            asyncio.run(load.run())
        self.cpu = (cpu_time(through.process) - before) / load.answers
        self.rate = load.counted / load.lasted
        self.p50, self.p99 = load.percentile(0.5), load.percentile(0.99)
        self.calls = seen.requests / load.answers


def line(clients: int, batching: str, turns: list[Turn]) -> tuple:
    """Medians of its turns."""

    def of(figure: str) -> float:
        return statistics.median(getattr(turn, figure) for turn in turns)

    return (
        clients, batching, f"{of('rate'):.0f}", f"{of('p50'):.1f}", f"{of('p99'):.1f}",
        f"{of('calls'):.3f}", f"{of('cpu') * 1e6:.0f}",
    )  # fmt: skip


def row(cells) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def main() -> None:
    given = options()
    given.dir = given.dir.resolve()
    enter_venv(given.dir)
    clean_environment()
    end_in_order()
    binary = shutil.which(given.corelane) or sys.exit(f"measure_batching.py: {given.corelane} is not a program")
    with tempfile.TemporaryDirectory(prefix="corelane-batching-") as scratch, Fleet(Path(scratch)) as fleet:
        upstream, gateways = embedding.start(fleet), {}
        for batching in ("off", "on"):
            batch = BATCH.format(items=given.max_items, wait=given.max_wait) if batching == "on" else ""
            config = Path(scratch) / f"{batching}.toml"
            config.write_text(CONFIG.format(upstream=upstream, batch=batch))
            name = f"corelane-{batching}"
            gateways[batching] = Gateway(fleet, name, os.path.abspath(binary), given.io, upstream, config)
        few, many = given.words
        print(f"{few} to {many} words, max_items {given.max_items}, max_wait {given.max_wait}", end=", ")
        print(f"io {given.io}, {os.cpu_count()} cores\n")
        row(COLUMNS)
        row("---:" if name != "batching" else "---" for name in COLUMNS)
        for clients in given.clients:
            turns = {batching: [] for batching in gateways}
            for _ in range(given.turns):
                for batching, through in gateways.items():
                    turns[batching].append(Turn(through, Load(through.url, clients, given.seconds, given.words)))
            for batching in gateways:
                row(line(clients, batching, turns[batching]))
            ratios = [on.cpu / off.cpu for on, off in zip(turns["on"], turns["off"], strict=True)]
            print(f"CPU with batching of that without, by turns: median {statistics.median(ratios):.2f}", file=sys.stderr)


if __name__ == "__main__":
    main()
