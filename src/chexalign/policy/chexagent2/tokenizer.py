"""The tokenizer of CheXagent-2 from its published files: byte-level BPE and the tokens that its code adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chexalign.errors import UserError

END = "<|endoftext|>"  # closes every turn and every report; pads batches too
IMAGE_START, IMAGE_END, IMAGE = "<|img|>", "<|/img|>", "<|imgpad|>"
_MARKS = (IMAGE_START, IMAGE_END, IMAGE, "<|ref|>", "<|/ref|>", "<|box|>", "<|/box|>", "<|quad|>", "<|/quad|>")
_COORDINATES = tuple(f"<|coord_{i}|>" for i in range(10))
_MULTIPLE = 64  # extra tokens fill the vocabulary up to one
_TOKENIZER = "tokenizer.json"
# Without a tokenizer.json these two are needed.
VOCABULARY, MERGES = "vocab.json", "merges.txt"


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint, its added tokens under the ids that its files name, or else in published order.

    No token is put before a text. tokenizer_config.json is read for added tokens alone: it names remote code.
    Raises: UserError when files are missing or disagree.
    """
    from transformers import PreTrainedTokenizerFast

    raw = _model(folder)
    _add_named(raw, folder)
    _add_published(raw)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=END, eos_token=END, unk_token=END, pad_token=END, padding_side="left"
    )
    if fast.convert_tokens_to_ids(END) not in range(raw.get_vocab_size()):
        raise _broken(folder, f"has no {END}")
    return fast


def token_ids(folder: Path) -> dict[str, int]:
    """The ids that the model's configuration needs; empty where the folder holds no tokenizer."""
    if not has_tokenizer(folder):
        return {}
    known = load_tokenizer(folder).get_vocab()
    return {"image_token_id": known[IMAGE], "eos_token_id": known[END], "bos_token_id": known[END]}


def has_tokenizer(folder: Path) -> bool:
    """True when the folder holds the files of a tokenizer."""
    return (folder / _TOKENIZER).is_file() or all((folder / name).is_file() for name in (VOCABULARY, MERGES))


def unwritable(tokenizer: Any, vocab_size: int) -> tuple[int, ...]:
    """Ids that no report may hold: marks of images and boxes, coordinates, fillers, and rows that no token has.

    In the published code one of them makes decoding fail. Other added tokens, such as runs of spaces, stay.
    """
    known = tokenizer.get_vocab()
    marks = {number for token, number in known.items() if token in (*_MARKS, *_COORDINATES) or _is_filler(token)}
    return tuple(sorted(marks | (set(range(vocab_size)) - set(known.values()))))


def _is_filler(token: str) -> bool:
    return token.startswith("<|extra_") and token.endswith("|>")


def _model(folder: Path) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    if (folder / _TOKENIZER).is_file():
        return Tokenizer.from_file(str(folder / _TOKENIZER))
    if not has_tokenizer(folder):
        raise _broken(folder, f"lacks {VOCABULARY} or {MERGES}, and has no {_TOKENIZER}")
    try:
        raw = Tokenizer(models.BPE.from_file(str(folder / VOCABULARY), str(folder / MERGES)))
    except Exception as e:  # tokenizers raises a bare Exception
        raise _broken(folder, f"has a {VOCABULARY} or {MERGES} that cannot be read") from e
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return raw


def _add_named(raw: Any, folder: Path) -> None:
    """Adds the tokens whose ids tokenizer_config.json or added_tokens.json name."""
    from tokenizers import AddedToken

    named: dict[int, tuple[str, bool]] = {}
    for token, number in _json(folder / "added_tokens.json").items():
        named[int(number)] = (token, True)
    for number, entry in _json(folder / "tokenizer_config.json").get("added_tokens_decoder", {}).items():
        named[int(number)] = (entry["content"], bool(entry.get("special", True)))
    for number, (token, special) in sorted(named.items()):
        add = raw.add_special_tokens if special else raw.add_tokens
        add([AddedToken(token, special=special, normalized=False)])
        if raw.token_to_id(token) != number:
            raise _broken(
                folder, f"gives {token} the id {number}, where the vocabulary leaves {raw.token_to_id(token)}"
            )


def _add_published(raw: Any) -> None:
    """Adds what is not there yet, in the order of the published code."""
    known = raw.get_vocab()
    raw.add_special_tokens([token for token in (*_MARKS, *_COORDINATES) if token not in known])
    missing = -raw.get_vocab_size() % _MULTIPLE
    raw.add_special_tokens([f"<|extra_{i}|>" for i in range(missing)])


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _broken(folder: Path, what: str) -> UserError:
    return UserError(
        f"The tokenizer of CheXagent-2 in {folder} {what}.",
        "Reports and image marks would become other tokens than those the model was trained with.",
        "Put all files of the published checkpoint into the folder, or the tokenizer.json of one that was saved here.",
    )
