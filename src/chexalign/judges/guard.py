"""Judges asked so that a pair on which one fails costs that pair alone."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cached_property

from chexalign.errors import UserError
from chexalign.judges.base import Judge, Judgement, TextPair

_MANY = 8  # a judge that fails on every one of so many texts is broken, whatever the texts


def guarded(judge: Judge, pairs: Sequence[TextPair]) -> list[Judgement]:
    """One judgement per pair, in order; a pair on which the judge raises is an error, named by the exception's type.

    A batch that fails is halved until the pairs that make it fail stand alone, about 2 log2(n) more calls for each.
    A value that is no finite number is an error too.
    Raises: UserError where the judge raises it, and when the judge fails on every one of 8 or more pairs.
    """
    found = _halving(judge, pairs)
    failed = [item for item in found if isinstance(item, _Raised)]
    if len(failed) == len(pairs) >= _MANY:
        raise UserError(
            f"judge {judge.name} failed on all of {len(pairs)} texts ({failed[0].kind}).",
            "So it is the judge that fails, or what it needs, and not a text.",
            "Score a text with it by hand to see why; what was scored before stays.",
        )
    return [_error(f"the judge raised {item.kind}") if isinstance(item, _Raised) else item for item in found]


class OneAtATime:
    """A judge that several threads ask one after the other, as few judges expect them at the same time."""

    def __init__(self, judge: Judge) -> None:
        self._judge, self._lock = judge, threading.RLock()

    @cached_property
    def name(self) -> str:
        """The name of the judge inside."""
        with self._lock:
            return self._judge.name

    @cached_property
    def version(self) -> str:
        """The version of the judge inside."""
        with self._lock:
            return self._judge.version

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """What the judge inside says, once no other thread asks it."""
        with self._lock:
            return self._judge.score(pairs)


class _Raised:
    """What came of a pair on which the judge raised."""

    def __init__(self, error: Exception) -> None:
        self.kind = type(error).__name__  # never its message, which may quote the text


def _halving(judge: Judge, pairs: Sequence[TextPair]) -> list[Judgement | _Raised]:
    try:
        return _checked(judge.score(pairs), len(pairs)) if pairs else []
    except UserError:
        raise
    except Exception as error:  # a judge may be anybody's
        if len(pairs) == 1:
            return [_Raised(error)]
    middle = len(pairs) // 2
    return [*_halving(judge, pairs[:middle]), *_halving(judge, pairs[middle:])]


def _checked(judgements: Sequence[Judgement], n: int) -> list[Judgement | _Raised]:
    if len(judgements) != n:
        raise ValueError(f"{len(judgements)} judgements for {n} pairs")
    return [j if j.value is None or math.isfinite(j.value) else _error("the value is not finite") for j in judgements]


def _error(reason: str) -> Judgement:
    return Judgement(None, status="error", reason=reason)
