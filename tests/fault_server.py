"""A chat-completions server that answers at once and fails as told: refusals, cut lines, slowness, nonsense."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
WORDS = ["clear", "effusion", "heart", "lungs", "normal", "left", "right", "small", "nodule", "opacity"]
# Bodies with status 200 that are no answers.
NONSENSE: dict[str, str] = {
    "html": "<html><body>Bad gateway</body></html>",
    "no json": '{"choices": [',
    "a list": "[]",
    "no choices": '{"object": "chat.completion"}',
    "empty choices": '{"choices": []}',
    "no message": '{"choices": [{"index": 0}]}',
    "no content": '{"choices": [{"index": 0, "message": {"role": "assistant", "content": null}}]}',
    "a number": '{"choices": [{"index": 0, "message": {"content": 3}, "finish_reason": "stop"}]}',
    "broken off": '{"choices": [{"index": 0, "message": {"content": "The"}, "finish_reason": "abort"}]}',
}


def prompt_of(body: Body) -> str:
    """The text of the first message."""
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def draw(body: Body, index: int = 0) -> str:
    """Twelve words that the prompt and the seed decide; the most probable ones at temperature 0 and with top_k 1."""
    seed = 0 if body.get("temperature", 1.0) == 0 or body.get("top_k") == 1 else body.get("seed", 0) + index
    key = hashlib.sha256(json.dumps([prompt_of(body), seed]).encode()).digest()
    return " ".join(random.Random(key).choices(WORDS, k=12))


def answer(body: Body, texts: Sequence[str], *, logps: bool = True) -> Body:
    """A chat completion with these texts; a token is a word, with a log-prob of -0.5."""
    choices: list[Body] = []
    for index, text in enumerate(texts):
        choice: Body = {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if logps and body.get("logprobs"):
            tokens = [{"token": w, "logprob": -0.5, "top_logprobs": [{"logprob": -0.25}]} for w in text.split()]
            choice["logprobs"] = {"content": tokens}
        choices.append(choice)
    usage = {"prompt_tokens": 7, "completion_tokens": sum(len(text.split()) for text in texts)}
    return {"object": "chat.completion", "choices": choices, "usage": usage}


def whole(body: Body) -> Body:
    """What a server answers that honors everything."""
    return answer(body, [draw(body, i) for i in range(body.get("n", 1))])


@dataclass
class Reply:
    """One response: a status and a body, and what goes wrong on the way."""

    body: Body | str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False  # the line goes dead in the middle of the body
    trickle_s: float = 0.0  # pause after each byte


Behavior = Callable[[Body, int], Reply]  # the request, and how many like it came before


@dataclass
class FaultServer:
    """The server: its address, and every request that it got."""

    url: str
    bodies: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    models: list[str] = field(default_factory=lambda: ["m"])
    most_at_once: int = 0
    connections: set[int] = field(default_factory=set)
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: Counter[str] = field(default_factory=Counter)

    def enter(self, body: Body, headers: dict[str, str], port: int) -> int:
        """Notes a request, and says how many like it came before."""
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            self.connections.add(port)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            key = json.dumps([prompt_of(body), body.get("seed")])
            self._seen[key] += 1
            return self._seen[key] - 1

    def leave(self) -> None:
        """Notes that a request is answered."""
        with self._lock:
            self._at_once -= 1


@contextmanager
def serve(behavior: Behavior = lambda body, _: Reply(whole(body))) -> Iterator[FaultServer]:
    """A server on loopback for as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send({"data": [{"id": name} for name in server.models]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen = server.enter(body, {k.lower(): v for k, v in self.headers.items()}, self.client_address[1])
            try:
                reply = behavior(body, seen)
                time.sleep(reply.delay_s)
            finally:
                server.leave()
            self.send(reply.body, reply)

        def send(self, body: Body | list[Any] | str, reply: Reply | None = None) -> None:
            reply = reply or Reply("")
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(reply.status)
            for name, value in {**reply.headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.cut:
                data, self.close_connection = data[: len(data) // 2], True
            try:
                for i in range(0, len(data), 1 if reply.trickle_s else len(data)):
                    self.wfile.write(data[i : i + 1] if reply.trickle_s else data)
                    self.wfile.flush()
                    time.sleep(reply.trickle_s)
            except OSError:  # the client has gone
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            """A client that hangs up is what the tests are about."""

    http = Server(("127.0.0.1", 0), Handler)
    server = FaultServer(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
