"""Why a question was mined, and how, in words."""

from __future__ import annotations

from typing import Any

from chexalign.types import MinedItem

SETS = {
    "mined": "like the policy's failures",
    "random": "drawn at random",
    "confidence": "failures alone",
    "similarity": "like questions drawn at random",
}
ORIGINS = {"own": "the policy's own", "rules": "edited by rules", "llm": "edited by a language model"}
KINDS = {
    "own": "as the policy answered",
    "answer": "another answer",
    "negation": "there or not",
    "side": "left or right",
    "attribute": "what it is like",
    "change": "change over time",
}
_FAILURES = {
    "most_confident_wrong": "wrong answers, the surest first",
    "least_confident": "wrong answers, the least sure first",
}
_AGGREGATES = {"mean": "mean", "geometric_mean": "geometric mean", "minimum": "minimum"}
_SPANS = {"answer": "the tokens of the short answer", "output": "all tokens"}
_QUOTAS = {
    "equal": "as many of each type",
    "as_failed": "by how many of a type are failed",
    "as_data": "by how many of a type there are",
}


def why(item: MinedItem, select: str, failures: str) -> str:
    """Why an item is in a set, in one line."""
    if item.seed_id is None:
        return "Drawn at random."
    if item.rank:
        distance = "" if item.distance is None else f", at distance {item.distance:.3f}"
        return f"Neighbor {item.rank} of the seed {item.seed_id}{distance}."
    if select == "similarity":
        return "Seed: drawn at random among the questions that the policy was asked."
    sure = "" if item.confidence is None else f", with confidence {item.confidence:.3f}"
    wrong = "confidently wrong" if failures == "most_confident_wrong" else "wrong and unsure"
    return f"Seed: the policy is {wrong}{sure}."


def rule_words(spec: Any) -> dict[str, str]:
    """What a recipe's MineSpec chose, by what it is called."""
    likeness = spec.likeness
    if not isinstance(likeness, str):
        likeness = ", ".join(f"{name} {weight:g}" for name, weight in likeness.items())
    images, texts = spec.encoders.image, spec.encoders.text
    own = "the policy's own, where there is one, before edits" if spec.counterfactual.own == "first" else "edits only"
    how = {"rules": "rules over the evidence", "llm": "a language model"}[spec.counterfactual.generator]
    return {
        "questions": f"of {spec.collection}, that SFT learned from",
        "asked": "all of them" if spec.ask is None else f"{spec.ask:,} of them, spread evenly",
        "confidence": f"{_AGGREGATES[spec.confidence.aggregate]} probability of {_SPANS[spec.confidence.span]}",
        "seeds": f"{spec.seeds:,} {_FAILURES[spec.failures]}",
        "likeness": f"{likeness}, the {spec.k} nearest of each seed by {spec.index} search",
        "vectors": f"texts by {texts}, images by {images}",
        "size of a set": f"{spec.share:.1%} of the questions of SFT",
        "types": f"{_QUOTAS[spec.quota]}; a type is the {spec.groups.replace('_', ' ')} of a question",
        "wrong answers": f"{own}, by {how}",
    }
