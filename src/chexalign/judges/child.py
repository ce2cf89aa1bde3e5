"""Judges that run in a Python environment of their own, so that what they pin meets nothing of ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from chexalign.engines.child import Child
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.texts import Preparation, check_preparation, prepared, without_words

_SCRIPTS = Path(__file__).with_name("children")
_LONGEST_REASON = 200


class ChildJudge:
    """A judge that is a script of yours, run by the Python interpreter that you name.

    The script defines `make(**options)`, which returns an object with `name`, `version` and `score(rows)`: for rows
    `{"candidate", "reference"}` as many rows `{"value", "parts", "notes"}`, or `{"value": None, "reason"}`; higher is
    better. It needs nothing of this package. A row that makes it fail twice is an error with the reason, as is a row
    without a finite value; an empty candidate or reference is an error unasked. See `engines.child.Child`.
    """

    describe: ClassVar[dict[str, str]] = {
        "license": "that of the script",
        "needs": "`python` (interpreter of an environment of its own) and `script`",
        "cost": "that of the script",
    }
    dear: ClassVar[bool] = True
    _of_empty: float | None = None

    def __init__(
        self,
        *,
        python: str,
        script: str,
        options: dict[str, Any] | None = None,
        texts: Preparation = "clean",
        batch_size: int = 32,
        start_timeout_s: float = 300.0,
        timeout_s: float = 600.0,
    ) -> None:
        """Nothing is started yet; asking for `name` or `version` starts the script."""
        check_preparation("child", texts)
        limits = {"batch_size": batch_size, "start_timeout_s": start_timeout_s, "timeout_s": timeout_s}
        self._child = Child(python, script, options=options, **limits)  # type: ignore[arg-type]
        self._texts = texts

    @cached_property
    def name(self) -> str:
        """The name that the script gives itself."""
        return self._child.hello.name

    @cached_property
    def version(self) -> str:
        """The version that the script gives itself."""
        return self._child.hello.version

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; each distinct pair goes to the script once.

        Raises: UserError when the script does not start, or ends again and again.
        """
        cleaned = prepared(pairs, self._texts)
        known = {pair: without_words(pair, of_empty=self._of_empty) for pair in cleaned}
        open_ = [pair for pair, judgement in known.items() if judgement is None]
        rows = [{"candidate": pair.candidate, "reference": pair.reference} for pair in open_]
        known.update(zip(open_, map(_judgement, self._child.ask(rows)), strict=True))
        return [judgement for pair in cleaned if (judgement := known[pair]) is not None]

    def close(self) -> None:
        """Ends the script; it also ends with this process."""
        self._child.close()


class RadEvalJudge(ChildJudge):
    """A metric of RadEval by its name, in an environment that has RadEval and its weights.

    Parts hold every number that the metric gives per report; `key` says which of them is the value. Written against
    RadEval 2.2.1 and not run with it here, since its weights come from a hub.
    """

    name = "radeval"
    describe: ClassVar[dict[str, str]] = {
        "license": "MIT (RadEval); that of the weights besides",
        "needs": "`python` of an environment with radeval 2.2 and its weights, and `metric`; not run here",
        "cost": "2 to 200 ms per report on a GPU, by metric (published)",
    }
    _metric: str | None = None
    _key: str | None = None

    def __init__(self, *, python: str, metric: str | None = None, key: str | None = None, **limits: Any) -> None:
        """`metric` is a name of RadEval's registry, as `srrbert`; `limits` are the other options of judge `child`."""
        metric, key = metric or self._metric, key or self._key
        if metric is None or (self._metric not in (None, metric)):
            raise TypeError(f"judge {type(self).name} with metric {metric}")
        script = str(_SCRIPTS / "radeval_metric.py")
        super().__init__(python=python, script=script, options={"metric": metric, "key": key}, **limits)
        self.name = type(self).name if self._metric else f"radeval-{metric}"


_ONE_METRIC = {
    **RadEvalJudge.describe,
    "needs": "`python` of an environment with radeval 2.2 and its weights; not run here",
}


class RadGraphJudge(RadEvalJudge):
    """RadGraph F1 of entities and relations (`partial`), by RadEval in its own environment; not run here.

    Parts hold the levels `radgraph_simple`, `radgraph_partial` and `radgraph_complete`.
    """

    name = "radgraph"
    describe = _ONE_METRIC
    _metric, _key, _of_empty = "radgraph", "radgraph_partial", 0.0


class RaTEScoreJudge(RadEvalJudge):
    """RaTEScore: similarity of medical entities, by RadEval in its own environment; not run here.

    It gives 0.5 where either report has no entity, however wrong the other is.
    """

    name = "ratescore"
    describe = _ONE_METRIC
    _metric, _key, _of_empty = "ratescore", "ratescore", 0.0


class RadCliQJudge(RadEvalJudge):
    """RadCliQ-v1 with its sign turned, so that higher is better, by RadEval in its own environment; not run here.

    One of its four features weighs words by the references of the same batch, so values are comparable within a
    batch only; keep `batch_size` fixed.
    """

    name = "radcliq"
    describe = _ONE_METRIC
    _metric, _key = "radcliq", "-radcliq_v1"


class CrimsonJudge(RadEvalJudge):
    """CRIMSON in [-1, 1], a language model that weighs errors by severity, by RadEval; not run here."""

    name = "crimson"
    describe = _ONE_METRIC
    _metric, _key = "crimson", "crimson"


def _judgement(row: dict[str, Any] | str) -> Judgement:
    """What a row of the script's answer says."""
    if isinstance(row, str):
        return Judgement(None, status="error", reason=row)
    value, parts = row.get("value"), row.get("parts") or {}
    if value is None:
        return Judgement(None, status="error", reason=str(row.get("reason") or "no value")[:_LONGEST_REASON])
    if not isinstance(parts, dict) or not all(map(_finite, [value, *parts.values()])):
        return Judgement(None, status="error", reason="the script gave no finite number")
    notes = row.get("notes") or {}
    return Judgement(
        float(value),
        {str(name): float(part) for name, part in parts.items()},
        notes={str(name): str(note) for name, note in notes.items()} if isinstance(notes, dict) else {},
    )


def _finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
