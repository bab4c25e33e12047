"""What `itr serve` does under load: seconds of answers, answers per second, and what it refuses.

    python -m benchmarks.serving runs/scenes/scenes-esl_h_clip-1 --json serving.json

In a project with the run's data set. It starts `itr serve` as a process of its own and asks it from this one over loopback: each
of 200 clients has an address and a connection of its own and asks for a text again as soon as it has an answer. Once with room
for all of them in the queue, once with the server's own limits: refused clients wait as long as they are told and ask again.
Every answer is compared with what the run finds by itself; `lost` are requests without any answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

import itrcore
from itrcore.cores import all_cores
from itrcore.data import captions
from itrcore.files import write_json
from itrcore.runs.folder import SPLIT
from itrcore.serving.gallery import of_data

K = 5  # results of a search
TEXTS = 50  # that are searched
PATIENCE = 60.0  # seconds after which a request without an answer is lost


@dataclass
class Load:
    """What came of the requests. seconds: of each that was answered with 200, from its first byte sent to its last received"""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    wrong: int = 0
    wall: float = 0.0

    def figures(self) -> dict[str, Any]:
        p50, p95, p99 = np.percentile(self.seconds, (50, 95, 99)) if self.seconds else (np.nan,) * 3
        return {
            "answered": len(self.seconds), "refused": {str(key): n for key, n in self.statuses.items() if key != 200},
            "lost": self.lost, "wrong": self.wrong, "answers_per_second": len(self.seconds) / self.wall,
            "p50_ms": 1000 * p50, "p95_ms": 1000 * p95, "p99_ms": 1000 * p99,
        }  # fmt: skip


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: bytes, kind: str
) -> tuple[int, dict[str, str], bytes]:
    """One request over an open connection: status, headers and body of its answer."""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines) if key}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def load(
    address: str, expected: Mapping[str, Sequence[int]], clients: int, requests: int, stubborn: bool
) -> Load:
    """Each client asks `requests` times. expected: text → items found; stubborn: refused clients ask again"""
    outcome, where = Load(), urlsplit(address)
    texts = list(expected)

    async def client(number: int) -> None:
        # Linux takes all of 127.0.0.0/8 for itself; elsewhere all clients are one.
        own = (f"127.1.{number // 250}.{number % 250 + 1}", 0) if sys.platform == "linux" else None
        reader, writer = await asyncio.open_connection(where.hostname, where.port, local_addr=own)
        for turn in range(requests):
            text = texts[(number + turn * clients) % len(texts)]
            body = json.dumps({"text": text, "k": K}).encode()
            while True:
                began = time.perf_counter()
                try:
                    async with asyncio.timeout(PATIENCE):
                        asked = ask(reader, writer, "POST", "/api/search", body, "application/json")
                        status, headers, answer = await asked
                except (OSError, EOFError, TimeoutError):
                    outcome.lost += 1
                    reader, writer = await asyncio.open_connection(where.hostname, where.port, local_addr=own)
                    break
                outcome.statuses[status] += 1
                if status == 200:
                    outcome.seconds.append(time.perf_counter() - began)
                    found = [each["item"] for each in json.loads(answer)["results"]]
                    outcome.wrong += found != list(expected[text])
                if status == 200 or not stubborn:
                    break
                await asyncio.sleep(float(headers.get("retry-after", 0)))
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*map(client, range(clients)))
    outcome.wall = time.perf_counter() - began
    return outcome


def measured(run: Path, options: Sequence[str], expected: Mapping[str, Sequence[int]], args: Any) -> dict[str, Any]:
    """The figures of a fresh server with these options."""
    command = [sys.executable, "-m", "itrcore.cli", "serve", str(run), "--port", "0", "--device", "cpu", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if line.startswith("http"))
        address = re.match(r"http://[\d.]+:\d+", line)
        assert address is not None
        asyncio.run(load(address[0], expected, 4, 5, True))  # the first requests load what is loaded late
        outcome = asyncio.run(load(address[0], expected, args.clients, args.requests, True))
        memory = psutil.Process(process.pid).memory_info().rss
        began = time.perf_counter()
        process.send_signal(signal.SIGINT)
        process.wait(30)
        stopped = time.perf_counter() - began
    finally:
        process.kill()
        process.wait()
    return {**outcome.figures(), "memory_mb": memory / 1e6, "seconds_to_stop": stopped}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=10, help="answers that each client waits for")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    retriever = itrcore.load(args.run, "cpu")
    gallery = of_data(retriever, retriever.record.data)
    table = captions.read(Path("data", retriever.record.data, "captions.parquet"), SPLIT)
    texts = [image.captions[0] for image in table[:TEXTS]]
    expected = {text: [match.item for match in gallery.search(text, K)] for text in texts}
    report: dict[str, Any] = {
        "run": retriever.record.name, "family": retriever.record.family, "pictures": len(gallery),
        "cores": all_cores(), "load_before": psutil.getloadavg()[0], "clients": args.clients, "requests": args.requests,
    }  # fmt: skip
    for name, options in (("room for all", ["--queue", str(args.clients), "--seconds", "60"]), ("own limits", [])):
        report[name] = figures = measured(args.run, options, expected, args)
        print(f"{name}: {json.dumps(figures)}", flush=True)
    if args.json:
        write_json(args.json, report)
    if any(report[name]["lost"] or report[name]["wrong"] for name in ("room for all", "own limits")):
        sys.exit("answers were lost or wrong")


if __name__ == "__main__":
    main()
