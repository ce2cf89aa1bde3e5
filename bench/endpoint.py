"""Requests per second of the endpoint engine, against a bare loop with the same client library.

    python bench/endpoint.py --write results/sampling.json

A server in another process answers every request after a fixed time. Ours is what the stage of candidates does: parts
in four threads, images read and encoded, answers checked. The bare loop is the faster of two, in each repetition:
threads with `OpenAI`, and tasks with `AsyncOpenAI`, that read the image, send the same request, take the texts and do
nothing else. Repetitions alternate the order. What is reported is the ratio of requests per second, ours to bare.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
from PIL import Image

from chexalign.ids import digest, keyed_seed
from chexalign.policy.base import Ask, Decoding
from chexalign.policy.endpoint import endpoint_policy
from chexalign.recipe.engines import EndpointSpec
from results_file import figure, merge

DRAWS, PART, PARTS_UNDER_WAY = 4, 60, 4
DECODING = Decoding(96, temperature=1.0)
Texts = list[list[str]]


# The server -----------------------------------------------------------------------------------------------------------


async def serve(latency_s: float) -> None:
    """Prints its port and answers until it is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
                body = json.loads(await reader.readexactly(int(lines[b"content-length"])))
                await asyncio.sleep(latency_s)
                data = json.dumps(completion(body)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
                )
                writer.write(data)
                await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """A report of 24 words per choice, which the request decides."""
    key = digest(body["messages"][0]["content"][-1]["text"], body["seed"])
    choices = [
        {
            "index": i,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": f"{key} {i} " + "clear " * 24},
        }
        for i in range(body.get("n", 1))
    ]
    usage = {"prompt_tokens": 600, "completion_tokens": 30 * len(choices), "total_tokens": 600 + 30 * len(choices)}
    return {"id": key, "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}


# The two sides --------------------------------------------------------------------------------------------------------


class Setting:
    """The asks, their seeds, and how they are put."""

    def __init__(self, url: str, *, prompts: int, concurrency: int, folder: Path) -> None:
        self.url, self.concurrency = url, concurrency
        image = folder / "image.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)).save(image)
        self.asks = [Ask(f"Describe study {i}.", (image,)) for i in range(prompts)]
        self.seeds = [[keyed_seed(0, i, draw) for draw in range(DRAWS)] for i in range(prompts)]

    def ours(self) -> Texts:
        """Parts in threads, through the policy."""
        policy = endpoint_policy(EndpointSpec(url=self.url, model="m", concurrency=self.concurrency))

        def part(start: int) -> Texts:
            asks, seeds = self.asks[start : start + PART], self.seeds[start : start + PART]
            groups = policy.generate(asks, decoding=DECODING, seeds=seeds)
            return [[c.text for c in group] for group in groups]

        with contextlib.closing(policy), ThreadPoolExecutor(PARTS_UNDER_WAY) as pool:
            return [group for groups in pool.map(part, range(0, len(self.asks), PART)) for group in groups]

    def request(self, i: int) -> dict[str, Any]:
        """What is sent for one ask, in the words of the library."""
        data = base64.b64encode(self.asks[i].images[0].read_bytes()).decode()
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        return {
            "model": "m",
            "messages": [{"role": "user", "content": [image, {"type": "text", "text": self.asks[i].prompt}]}],
            "max_tokens": DECODING.max_new_tokens,
            "temperature": 1.0,
            "top_p": 1.0,
            "n": DRAWS,
            "seed": self.seeds[i][0] & 0x7FFFFFFF,
            "logprobs": True,
            "top_logprobs": 1,
            "extra_body": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
        }

    def bare_threads(self) -> Texts:
        """As many threads as requests at a time."""
        http = httpx2.Client(trust_env=False, limits=self._limits())
        with (
            openai.OpenAI(base_url=self.url, api_key="none", max_retries=0, http_client=http) as client,
            ThreadPoolExecutor(self.concurrency) as pool,
        ):
            found = pool.map(lambda i: client.chat.completions.create(**self.request(i)), range(len(self.asks)))
            return [texts(completion) for completion in found]

    def bare_tasks(self) -> Texts:
        """As many tasks of one event loop as requests at a time."""
        return asyncio.run(self._tasks())

    async def _tasks(self) -> Texts:
        http = httpx2.AsyncClient(trust_env=False, limits=self._limits())
        left, found = iter(range(len(self.asks))), dict[int, list[str]]()
        async with openai.AsyncOpenAI(base_url=self.url, api_key="none", max_retries=0, http_client=http) as client:

            async def work() -> None:
                for i in left:
                    found[i] = texts(await client.chat.completions.create(**self.request(i)))

            await asyncio.gather(*[work() for _ in range(self.concurrency)])
        return [found[i] for i in range(len(self.asks))]

    def _limits(self) -> httpx2.Limits:
        return httpx2.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)


def texts(completion: Any) -> list[str]:
    """The texts of an answer of the library."""
    return [choice.message.content.strip() for choice in completion.choices]


# The measurement ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(latency_s: float) -> Iterator[str]:
    """The address of a server in another process."""
    command = [sys.executable, __file__, "--serve", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


def measure(setting: Setting, reps: int) -> list[float]:
    """Ratios of requests per second, ours to the faster bare loop, one per repetition; the texts must agree."""
    sides: list[Callable[[], Texts]] = [setting.ours, setting.bare_threads, setting.bare_tasks]
    wanted, ratios = setting.bare_threads(), []
    for rep in range(reps):
        seconds = {}
        for side in sides[rep % 3 :] + sides[: rep % 3]:
            started = time.perf_counter()
            found = side()
            seconds[side.__name__] = time.perf_counter() - started
            assert found == wanted, f"{side.__name__}: texts differ"
        ratios.append(min(seconds["bare_threads"], seconds["bare_tasks"]) / seconds["ours"])
        rate = {name: round(len(setting.asks) / value) for name, value in seconds.items()}
        print(rate, "requests/s, ratio", round(ratios[-1], 3), file=sys.stderr)
    return ratios


def main() -> None:
    """Measures, prints, and writes the figure into the file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=960)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds that the server takes for an answer")
    parser.add_argument("--reps", type=int, default=7)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve))
    with server(arguments.latency) as url, tempfile.TemporaryDirectory() as folder:
        setting = Setting(url, prompts=arguments.prompts, concurrency=arguments.concurrency, folder=Path(folder))
        ratios = measure(setting, arguments.reps)
    checked = f"the {DRAWS * arguments.prompts} texts of both are the same in every repetition"
    figures = {"sampling.endpoint_efficiency": figure(ratios, unit="ratio", target=0.95, checked=checked)}
    print(json.dumps(figures, indent=2))
    if arguments.write:
        shape = {name: getattr(arguments, name) for name in ("prompts", "concurrency", "latency", "reps")}
        merge(arguments.write, figures, seeds=[0], endpoint={**shape, "draws": DRAWS, "part": PART})


if __name__ == "__main__":
    main()
