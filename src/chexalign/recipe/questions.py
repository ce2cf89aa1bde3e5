"""The block of the recipe that says which questions about images are learned from and asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from chexalign.recipe.blocks import Block, mistake
from chexalign.recipe.mine import ConfidenceSpec
from chexalign.types import Scoring


class CollectionSpec(Block):
    """One collection of questions."""

    source: str = Field(description="name of the source (`chexalign list questions`)", examples=["rsna"])
    root: Path | None = Field(default=None, description="folder of the collection in its official layout")
    images: Path | None = Field(default=None, description="folder of its images, where they are not under root")
    options: dict[str, Any] = Field(default={}, description="the source's own options", examples=["{balanced: false}"])
    tasks: list[str] | None = Field(
        default=None, min_length=1, description="tasks to keep; all when left out", examples=["[view, presence]"]
    )
    sft: int = Field(
        default=0, ge=0, description="questions of the split train that SFT learns from besides the reports"
    )
    limit: int | None = Field(
        default=None, ge=1, description="questions that are asked, spread over the split; all when left out"
    )
    evaluate: bool = Field(default=True, description="whether policies are asked the questions of `questions.split`")


class QuestionsSpec(Block):
    """Questions about images, beside the reports: what alignment on reports costs elsewhere is seen in them."""

    collections: list[CollectionSpec] = Field(
        min_length=1, description="collections of questions", examples=["[{source: rsna, root: /data/rsna}]"]
    )
    split: Literal["validation", "test"] = Field(default="test", description="split of the questions that are asked")
    scoring: list[Scoring] = Field(
        default=["generation"],
        min_length=1,
        description="whether the written answer counts, the most probable option, or both",
    )
    confidence: ConfidenceSpec | None = Field(
        default=None,
        description="how sure of its answers a policy is, for calibration; not asked for when left out",
        examples=["{aggregate: geometric_mean, span: answer}"],
    )
    orders: int = Field(
        default=2, ge=1, le=6, description="orders of the options that a question is asked in; the first one counts"
    )
    max_new_tokens: int = Field(default=32, ge=1, description="longest answer, in tokens")
    batch_size: int = Field(default=60, ge=1, description="questions asked together")
    tax_bound: float = Field(
        default=0.02, ge=0, lt=1, description="loss of accuracy against SFT that is still called none"
    )

    @field_validator("collections")
    @classmethod
    def _distinct(cls, collections: list[CollectionSpec]) -> list[CollectionSpec]:
        names = [collection.source for collection in collections]
        if len(set(names)) < len(names):
            raise mistake("names a source twice, and its questions have one folder", "keep one of each")
        return collections

    @field_validator("scoring")
    @classmethod
    def _each_once(cls, scoring: list[Scoring]) -> list[Scoring]:
        return list(dict.fromkeys(scoring))

    @field_validator("confidence")
    @classmethod
    def _of_what_is_written(cls, confidence: ConfidenceSpec | None, info: ValidationInfo) -> ConfidenceSpec | None:
        if confidence is not None and "generation" not in info.data.get("scoring", ["generation"]):
            raise mistake(
                "is that of written answers, and questions.scoring has none",
                "add generation to questions.scoring, or leave confidence out",
            )
        return confidence
