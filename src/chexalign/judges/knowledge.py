"""The reward of CheXPO-v2 as a judge: does the answer agree, and does the reasoning say the same as a graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from chexalign.errors import UserError
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.graph import Graph, GraphMaker, jaccard
from chexalign.judges.graph_labeler import LabelerGraphs
from chexalign.judges.graph_radgraph import RadGraphGraphs
from chexalign.judges.texts import Preparation, check_preparation, prepared, without_words

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL | re.IGNORECASE)
_FIRST_SENTENCE = re.compile(r"[^.!?\n]*")
_EDGES = " \t\n.,;:!?\"'"


class KnowledgeJudge:
    """The mean of two rewards, in [0, 1], or one of them: the published reward of CheXPO-v2 is twice the mean.

    Accuracy is 1 where the answers of candidate and reference share an item, or both have none, else 0. Graph is the
    mean of the Jaccard indexes of the entities and of the relations that the rest of both texts holds. Parts:
    accuracy, entities, relations, graph. An empty candidate scores 0, and an empty reference is an error.
    Source: CheXPO-v2, arXiv 2512.17213, and its code; docs/judges.md says where we differ.
    """

    name = "knowledge"
    describe: ClassVar[dict[str, str]] = {
        "license": "Apache-2.0 (this package); that of RadGraph's weights besides",
        "needs": "nothing more with `graph: labeler`; `python` of an environment with radgraph and its weights with "
        "`graph: radgraph`, which was not run here",
        "cost": "next to nothing; a pass of BERT per text with RadGraph",
    }

    def __init__(
        self,
        *,
        graph: Literal["labeler", "radgraph"] = "labeler",
        value: Literal["both", "accuracy", "graph"] = "both",
        python: str | None = None,
        model_type: str = "radgraph-xl",
        texts: Preparation = "clean",
        **limits: Any,
    ) -> None:
        """Nothing is started yet; `python`, `model_type` and the limits of judge `child` are RadGraph's.

        Raises: UserError for options that do not go together.
        """
        check_preparation(self.name, texts)
        if value not in ("both", "accuracy", "graph"):
            raise UserError(
                f"judge knowledge with value {value}",
                "The value is one of the two rewards, or the mean of both.",
                "Give value: both, accuracy or graph.",
            )
        if graph not in ("labeler", "radgraph") or (graph == "radgraph") != (python is not None):
            raise UserError(
                f"judge knowledge with graph {graph} and {'a' if python else 'no'} python",
                "Graphs come from the rule labeler, or from RadGraph in an environment of its own.",
                "Give graph: labeler, or graph: radgraph and the environment's interpreter as python.",
            )
        if python is None and limits:
            raise TypeError(f"judge knowledge takes {', '.join(limits)} with graph: radgraph only")
        self._texts, self._value = texts, value
        self._maker: GraphMaker = (
            LabelerGraphs() if python is None else RadGraphGraphs(python, model_type=model_type, **limits)
        )
        self.dear = python is not None

    @cached_property
    def version(self) -> str:
        """The version of the rules, and of what makes the graphs."""
        return f"1-{self._maker.version}{'' if self._value == 'both' else f'-{self._value}'}"

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; each distinct text is read once.

        Raises: UserError when RadGraph does not start, or ends again and again.
        """
        cleaned = prepared(pairs, self._texts)
        open_ = [pair for pair in dict.fromkeys(cleaned) if without_words(pair, of_empty=0.0) is None]
        texts = list(dict.fromkeys(reasoning(text) for pair in open_ for text in (pair.candidate, pair.reference)))
        graphs = dict(zip(texts, self._maker.graphs(texts), strict=True)) if texts else {}
        return [without_words(pair, of_empty=0.0) or self._compare(pair, graphs) for pair in cleaned]

    def close(self) -> None:
        """Ends what makes the graphs."""
        self._maker.close()

    def _compare(self, pair: TextPair, graphs: dict[str, Graph | str]) -> Judgement:
        said, true = graphs[reasoning(pair.candidate)], graphs[reasoning(pair.reference)]
        for graph in (said, true):
            if isinstance(graph, str):
                return Judgement(None, status="error", reason=graph)
        assert isinstance(said, Graph)
        assert isinstance(true, Graph)
        entities, relations = jaccard(said.entities, true.entities), jaccard(said.relations, true.relations)
        right, graph_part = accuracy(pair.candidate, pair.reference), (entities + relations) / 2
        parts = {"accuracy": right, "entities": entities, "relations": relations, "graph": graph_part}
        return Judgement((right + graph_part) / 2 if self._value == "both" else parts[self._value], parts)


def answer_items(text: str) -> frozenset[str]:
    """The items of the answer: what commas part in its <answer> tags, or in its first sentence where it has none.

    A text with several such tags has no answer.

    >>> sorted(answer_items("<think>Hm.</think><answer>Edema, Mass.</answer>")), answer_items("Yes. It is.")
    (['edema', 'mass'], frozenset({'yes'}))
    """
    tagged = _ANSWER.findall(text)
    if len(tagged) > 1:
        return frozenset()
    first = _FIRST_SENTENCE.match(_THINK.sub("", text).strip())
    said = tagged[0] if tagged else first[0] if first else ""
    return frozenset(item for part in said.lower().split(",") if (item := part.strip(_EDGES)))


def reasoning(text: str) -> str:
    """What graphs are made of: the text in <think> tags, or all but that in <answer> tags where there are none.

    >>> reasoning("<think>A mass is seen.</think><answer>yes</answer>"), reasoning("Yes. A mass is seen.")
    ('A mass is seen.', 'Yes. A mass is seen.')
    """
    thought = _THINK.findall(text)
    return " ".join(thought).strip() if thought else _ANSWER.sub(" ", text).strip()


def accuracy(candidate: str, reference: str) -> float:
    """1 where the answers of both texts share an item, or neither has any; else 0."""
    said, right = answer_items(candidate), answer_items(reference)
    return float(bool(said & right) or not (said or right))
