"""How a preference is written for TRL, for ms-swift and for whoever reads JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from chexalign.types import Pair, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["trl", "trl-unpaired", "ms-swift", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)
Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One preference with all that an export says of it."""

    study_id: str
    patient_id: str
    license: str
    prompt: str
    images: tuple[str, ...]  # absolute paths
    texts: tuple[str, ...]  # chosen and rejected, or the one text of a verdict
    preference: Pair | Verdict
    about: Mapping[str, Any]  # what else is known, as plain values


def trl(row: Row) -> list[Plain]:
    """A row of TRL's conversational preference format, its images beside it."""
    chosen, rejected = row.texts
    return [{"images": _images(row), "prompt": _user(row), "chosen": _says(chosen), "rejected": _says(rejected)}]


def trl_unpaired(row: Row) -> list[Plain]:
    """A row per text in TRL's unpaired format; a pair's chosen text is labeled true and its rejected text false."""
    verdict = row.preference
    labels = (verdict.desirable,) if isinstance(verdict, Verdict) else (True, False)
    return [
        {"images": _images(row), "prompt": _user(row), "completion": _says(text), "label": label}
        for text, label in zip(row.texts, labels, strict=True)
    ]


def ms_swift(row: Row) -> list[Plain]:
    """A row of ms-swift's standard format: the chosen text as answer, or a verdict's text with a label."""
    question = {"role": "user", "content": "<image>" * len(row.images) + row.prompt}
    found: Plain = {"messages": [question, *_says(row.texts[0])], "images": list(row.images)}
    if isinstance(row.preference, Verdict):
        return [{**found, "label": row.preference.desirable}]
    return [{**found, "rejected_response": row.texts[1]}]


def jsonl(row: Row) -> list[Plain]:
    """All that is known of the preference as plain values."""
    p = row.preference
    common = {
        "study_id": row.study_id,
        "patient_id": row.patient_id,
        "prompt": row.prompt,
        "images": list(row.images),
        **row.about,
        "judge": p.judge,
        "rule": p.rule,
    }
    if isinstance(p, Verdict):
        own = {"id": p.candidate_id, "completion": row.texts[0], "desirable": p.desirable, "weight": p.weight}
        return [own | common]
    own = {"id": p.id, "chosen": row.texts[0], "rejected": row.texts[1]}
    return [own | common | {"margin": p.margin, "delta_words": p.delta_words}]


WRITERS: Mapping[Format, Callable[[Row], list[Plain]]] = {
    "trl": trl,
    "trl-unpaired": trl_unpaired,
    "ms-swift": ms_swift,
    "jsonl": jsonl,
}


def parquet_schema(format: Format) -> pa.Schema | None:
    """The Arrow schema of a format that is Parquet, with what `datasets` needs to open the images by path."""
    import pyarrow as pa

    if not format.startswith("trl"):
        return None
    says = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    image = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    sides = ("chosen", "rejected") if format == "trl" else ("completion",)
    fields = [("images", image), ("prompt", says), *((side, says) for side in sides)]
    text = {"dtype": "string", "_type": "Value"}
    said = [{"role": text, "content": text}]
    features: Plain = {"images": [{"_type": "Image"}], "prompt": said, **dict.fromkeys(sides, said)}
    if format == "trl-unpaired":
        fields.append(("label", pa.bool_()))
        features["label"] = {"dtype": "bool", "_type": "Value"}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _images(row: Row) -> list[Plain]:
    return [{"bytes": None, "path": path} for path in row.images]


def _user(row: Row) -> list[Plain]:
    return [{"role": "user", "content": row.prompt}]


def _says(text: str) -> list[Plain]:
    return [{"role": "assistant", "content": text}]
