"""Graphs by the rule labeler, offline: its findings, and the places that are named beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from chexalign.judges.chexpert import FINDINGS, label
from chexalign.judges.chexpert_rules import Span, placed_mentions, sentences
from chexalign.judges.graph import Entity, Graph, Relation

_STATES = {1: "present", 0: "absent", -1: "uncertain"}
_DEVICES = "Support Devices"
_ANATOMY, _LOCATED = "anatomy", "located_at"
_NEAR = 6  # words between a place and the finding that it is a place of, at most

# What a word names; one word may name two places, as "bibasilar" does.
_PLACES: tuple[tuple[str, str], ...] = (
    ("left", r"left(?: sided)?"),
    ("right", r"right(?: sided)?"),
    ("bilateral", r"bilateral(?:ly)?|both|bibasilar|bibasal|biapical"),
    ("upper lobe", r"upper lobes?"),
    ("middle lobe", r"middle lobe"),
    ("lower lobe", r"lower lobes?"),
    ("lingula", r"lingular?"),
    ("upper zone", r"upper (?:lung )?(?:zones?|lungs?|fields?)"),
    ("middle zone", r"mid(?:dle)? (?:lung )?(?:zones?|lungs?|fields?)"),
    ("lower zone", r"lower (?:lung )?(?:zones?|lungs?|fields?)"),
    ("base", r"bases?|basal|basilar|bibasilar|bibasal"),
    ("apex", r"apex|apices|apical|biapical"),
    ("hilum", r"hilum|hila|hilar"),
    ("perihilar", r"peri ?hilar"),
    ("mediastinum", r"mediastinum|mediastinal"),
    ("retrocardiac", r"retro ?cardiac"),
    ("costophrenic angle", r"costophrenic(?: angles?| sulc\w+| recess\w*)?"),
    ("fissure", r"fissures?|fissural"),
    ("rib", r"ribs?"),
    ("clavicle", r"clavic\w+"),
    ("spine", r"spin(?:e|al)|vertebra\w*"),
    ("superior vena cava", r"svc|superior vena cava"),
    ("atrium", r"atri(?:um|al|ocaval)"),
    ("carina", r"carina"),
    ("stomach", r"stomach|gastric"),
)
_WORDS = tuple((name, re.compile(rf"\b(?:{words})\b")) for name, words in _PLACES)


class LabelerGraphs:
    """A `GraphMaker` of rules: 13 findings, each present, absent or uncertain, and the places of those not denied.

    Of several mentions of a finding the strongest counts, as in `chexpert.label`. A place belongs to the finding of its
    sentence to which the fewest words lead, to the later one of two, if at most six do; places side by side are one. It
    sees nothing beyond these words.
    """

    version = "labeler"

    def graphs(self, texts: Sequence[str]) -> list[Graph | str]:
        """For each text its graph."""
        return [_graph(text) for text in texts]

    def close(self) -> None:
        """Nothing is held."""


def _graph(text: str) -> Graph:
    entities: set[Entity] = {
        (name.lower(), f"{'devices' if name == _DEVICES else 'disorder'}_{_STATES[value]}")
        for name, value in label(text).items()
        if value is not None and name in FINDINGS
    }
    relations = frozenset(relation for sentence in sentences(text) for relation in _located(sentence))
    return Graph(frozenset(entities | {(place, _ANATOMY) for _, place, _ in relations}), relations)


@lru_cache(maxsize=65536)
def _located(sentence: str) -> tuple[Relation, ...]:
    """Which of the findings that a sentence does not deny is where."""
    mentions = [(name, value, span) for (name, value), span in placed_mentions(sentence)]
    relations: list[Relation] = []
    for places, at in _places(sentence):
        gaps = {span: _gap(sentence, at, span) for _, _, span in mentions}
        near = [span for span, gap in gaps.items() if gap <= _NEAR]
        if near:
            nearest = min(near, key=lambda span: (gaps[span], -span[0]))
            found = [name.lower() for name, value, span in mentions if span == nearest and value]
            relations += ((name, place, _LOCATED) for name in found for place in sorted(places))
    return tuple(relations)


def _places(sentence: str) -> list[tuple[set[str], Span]]:
    """The places of a sentence; those that stand side by side, as in "left lower lobe", are one."""
    found = sorted((match.span(), name) for name, words in _WORDS for match in words.finditer(sentence))
    groups: list[tuple[set[str], Span]] = []
    for span, name in found:
        if groups and _gap(sentence, groups[-1][1], span) == 0:
            names, before = groups.pop()
            groups.append((names | {name}, (before[0], max(before[1], span[1]))))
        else:
            groups.append(({name}, span))
    return groups


def _gap(sentence: str, one: Span, other: Span) -> int:
    """The words between two places of a sentence."""
    first, second = sorted((one, other))
    return len(re.findall(r"\w+", sentence[first[1] : second[0]])) if first[1] < second[0] else 0
