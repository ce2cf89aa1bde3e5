"""What all judges that are chat models share: where the model is, what it is asked, and the version that names it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from chexalign import ids
from chexalign.engines.endpoint_answer import Call
from chexalign.engines.local_chat import Dtype, LocalChat, LocalChatSpec
from chexalign.errors import UserError
from chexalign.judges.asking import Chat, ServedChat, score_each
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.checkpoints import checkpoint_digest, slug
from chexalign.judges.texts import Preparation, check_preparation, prepared
from chexalign.recipe.engines import EndpointSpec


class ChatJudge(ABC):
    """A chat model that is asked about each pair, behind a server (`url`, `model`) or in this process (`folder`).

    `endpoint` is the server, None for a model in a folder. Safe to use in several threads where there is a server.
    """

    name: str
    version = "1"
    dear: ClassVar[bool] = True
    fills_gpu = False
    _dtype: ClassVar[Dtype] = "bf16"  # of a model in a folder, unless told otherwise
    _of_empty: ClassVar[float] = 0.0

    def __init__(
        self, *, texts: Preparation, max_new_tokens: int, wording: Sequence[object], model: dict[str, Any]
    ) -> None:
        """Nothing is asked yet; of a model in a folder the files are read once, since the version names them.

        `wording` is all that an answer depends on beside texts and model; `model` has the fields of EndpointSpec, or
        `folder`, `dtype`, `batch_size`, `device` and `chat_template`, a file.
        Raises: UserError for options that are missing or wrong.
        """
        check_preparation(self.name, texts)
        self._texts, self._max_tokens = texts, max_new_tokens
        self._chat: Chat | None = None
        self._lock = threading.Lock()
        self.endpoint: EndpointSpec | None = None
        self._spec: EndpointSpec | LocalChatSpec
        if "folder" in model:
            spec = _local_spec(self.name, {"dtype": self._dtype, **model}, own_template=self._chat_template)
            model_name, content = spec.folder.resolve().name, [checkpoint_digest(spec.folder), spec.dtype]
            self._spec, self.fills_gpu = spec, True
            self.ways: frozenset[str] = frozenset({"folder", "batch_size", "device"})
            digest = ids.digest(*wording, *content, spec.chat_template, length=8)
        else:
            self.endpoint = self._spec = _endpoint_spec(self.name, model)
            model_name = self.endpoint.model
            self.ways = frozenset(EndpointSpec.model_fields) - {"model", "extra_body"}
            digest = ids.digest(*wording, self.endpoint.extra_body, length=8)
        self.version = f"{type(self).version}-{slug(model_name)}-{digest}"

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; each distinct pair is asked about once, many at the same time.

        Raises: UserError when the server answers nothing at all, or the model cannot be loaded.
        """
        return score_each(
            self._open, prepared(pairs, self._texts), call=self._call, read=self._read, of_empty=self._of_empty
        )

    def close(self) -> None:
        """Ends what waits for the model, and lets go of it."""
        with self._lock:
            if self._chat is not None:
                self._chat.close()

    def _open(self) -> Chat:
        """The model, one for all threads, so that its `concurrency` holds for them together."""
        with self._lock:
            if self._chat is None:
                spec = self._spec
                self._chat = ServedChat(spec) if isinstance(spec, EndpointSpec) else LocalChat(spec)
            return self._chat

    @abstractmethod
    def _call(self, pair: TextPair) -> Call:
        """The request about a pair."""

    @abstractmethod
    def _read(self, answer: str, whole: bool) -> Judgement:
        """The judgement that an answer says; `whole` is False for one that was cut."""

    def _chat_template(self) -> str | None:
        """The template of a model in a folder that stands in for its tokenizer's own, where the judge has one."""
        return None


def _endpoint_spec(judge: str, options: dict[str, Any]) -> EndpointSpec:
    from pydantic import ValidationError

    try:
        return EndpointSpec(**options)
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        known = ", ".join(EndpointSpec.model_fields)
        raise UserError(
            f"judge {judge}: the option {'.'.join(map(str, first['loc']))}",
            f"{first['msg']}; besides the judge's own, the options of a server are: {known}.",
            "A chat model needs at least `url` and `model` of a server, or `folder` with the model itself.",
        ) from None


def _local_spec(judge: str, options: dict[str, Any], *, own_template: Any) -> LocalChatSpec:
    known = LocalChatSpec.__dataclass_fields__
    if strange := sorted(options.keys() - known.keys()):
        raise UserError(
            f"judge {judge}: the option {strange[0]}",
            f"With `folder`, the options besides the judge's own are: {', '.join(known)}.",
            "Leave it out; or leave `folder` out and name a server with `url` and `model`.",
        )
    given = options.pop("chat_template", None)
    template = own_template() if given is None else _read_template(judge, given)
    return LocalChatSpec(**{**options, "folder": Path(options["folder"]).expanduser(), "chat_template": template})


def _read_template(judge: str, path: str) -> str:
    try:
        return Path(path).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(
            f"judge {judge}: chat_template {path}",
            "It is no file here, or no text in UTF-8.",
            "Give a file with a template in Jinja, or leave it out for the tokenizer's own.",
        ) from e
