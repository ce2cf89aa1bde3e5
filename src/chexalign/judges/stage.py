"""The stage that scores texts: candidates while pairs are made, predictions while policies are compared."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from chexalign import ids
from chexalign.errors import UserError
from chexalign.judges.base import Judge, Judgement, TextPair
from chexalign.judges.budget import REFUSED, Budget
from chexalign.judges.guard import OneAtATime, guarded
from chexalign.judges.score_store import BLOCK, StoredJudge, pair_key
from chexalign.judges.wrappers import LabeledJudge
from chexalign.recipe.engines import EndpointSpec
from chexalign.registry import registry
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.stage import StageKey
from chexalign.store import Manifest, Table
from chexalign.types import Score


class Texts(Protocol):
    """Where the texts to score come from; it is sent to worker processes and read there."""

    def load(self) -> list[tuple[str, TextPair]]:
        """An id and the pair of texts, in a fixed order."""
        ...


@dataclass(frozen=True, slots=True)
class CandidateTexts:
    """Every candidate of a run with its study's reference."""

    run: RunFolder

    def load(self) -> list[tuple[str, TextPair]]:
        """Candidates in the order of their table."""
        references = {s.id: s.reference for s in self.run.studies.iter_rows()}
        study_of = {p.id: p.study_id for p in self.run.prompts.iter_rows()}
        return [(c.id, TextPair(c.text, references[study_of[c.prompt_id]])) for c in self.run.candidates.iter_rows()]


@dataclass(frozen=True, slots=True)
class PredictionTexts:
    """Every prediction of a policy with its study's reference."""

    run: RunFolder
    policy: str

    def load(self) -> list[tuple[str, TextPair]]:
        """Predictions in the order of their table; the id is the study's."""
        references = {s.id: s.reference for s in self.run.studies.iter_rows()}
        return [
            (p.study_id, TextPair(p.text, references[p.study_id]))
            for p in self.run.predictions(self.policy).iter_rows()
        ]


def make_judge(spec: Any, wrap: Callable[[Judge, Any], Judge] | None = None) -> Judge:
    """The judge of a recipe's JudgeSpec, those that it wraps made first; no weights are loaded.

    `wrap` is given every judge that wraps no other, with its JudgeSpec, and returns what stands in its place.
    Raises: UserError when the name is unknown, or the judge does not take the options.
    """
    of = [make_judge(inner, wrap) for inner in spec.inner]
    inner = {"of": of if isinstance(spec.of, list) else of[0]} if of else {}
    found = registry("judges").get(spec.name)
    try:
        judge: Judge = found(**inner, **spec.options)
    except TypeError as error:
        raise UserError(
            f"judge {spec.name} with {', '.join([*inner, *spec.options]) or 'no options'}",
            str(error),
            "`chexalign list judges` shows what each judge needs",
        ) from error
    if wrap is not None and not inner:
        judge = wrap(judge, spec)
    return cast("Judge", LabeledJudge(judge, spec.label)) if spec.label else judge


@dataclass(frozen=True, slots=True)
class About:
    """What a run has to know of a judge before it asks it."""

    version: str
    dear: bool  # whether its scores, or those of a judge inside, are kept in the store
    endpoints: tuple[EndpointSpec, ...]  # the servers that it sends texts to
    fills_gpu: bool = False  # whether it holds a model that takes a GPU for itself, where there is one

    def substance(self) -> dict[str, Any]:
        """What its scores in a run depend on, beside its options and the texts."""
        return {"version": self.version, **({"parts": "by digest"} if self.dear else {})}

    @property
    def parts_under_way(self) -> int:
        """Parts that are asked of its servers at the same time: while one ends, those of others fill the room."""
        return max(4, *(2 * endpoint.concurrency // BLOCK + 1 for endpoint in self.endpoints))


def about_judge(spec: Any) -> About:
    """What there is to know of a recipe's judge and those inside."""
    leaves: list[Judge] = []

    def note(judge: Judge, _: Any) -> Judge:
        leaves.append(judge)
        return judge

    version = make_judge(spec, note).version
    fills_gpu = any(getattr(judge, "fills_gpu", False) for judge in leaves)
    return About(version, any(map(_is_dear, leaves)), _endpoints(leaves), fills_gpu)


def servers_of(spec: Any) -> tuple[EndpointSpec, ...]:
    """The servers that a recipe's judge and those inside send texts to; none of them is asked, and nothing is loaded.

    Raises: UserError as `make_judge` does.
    """
    leaves: list[Judge] = []

    def note(judge: Judge, _: Any) -> Judge:
        leaves.append(judge)
        return judge

    make_judge(spec, note)
    return _endpoints(leaves)


def _endpoints(judges: Sequence[Judge]) -> tuple[EndpointSpec, ...]:
    return tuple(found for judge in judges if (found := _endpoint(judge)) is not None)


def score_store_folder(run: RunFolder) -> Path:
    """Where the runs of a folder keep what dear judges said."""
    return run.root.parent / ".cache" / "scores"


def make_keeping(spec: Any, store: Path) -> Judge:
    """The judge of a recipe's JudgeSpec; what it says, or judges inside, is kept in the store where that is dear."""
    return make_judge(spec, lambda judge, inner: cast("Judge", _stored(judge, inner, store, asked=judge) or judge))


def _stored(judge: Judge, spec: Any, store: Path | None, *, asked: Judge) -> StoredJudge | None:
    """The judge with a store before it, or None for one that is not dear; `asked` is what stands in for it."""
    if store is None or not _is_dear(judge):
        return None
    return StoredJudge(asked, store, _substance(judge, spec.options))


@dataclass(slots=True)
class ScoresWorker:
    """Scores a fixed share of the texts per part; a text that cannot be scored keeps its row, with the reason.

    A part is a slice of the texts in their order. Where a dear judge takes part it is those texts that their digest
    sends there, so that equal texts meet in one part and are asked about once, whatever other processes do meanwhile.
    Dear judges (see `judges.base.Judge`) keep what they say in the folder `store`. Several threads may make parts: they
    ask a server at the same time, through one client, and any other judge one after the other.
    """

    judge: Any  # a recipe's JudgeSpec
    texts: Texts
    part_size: int
    store: Path | None = None
    budget: Budget | None = None
    _judge: Judge | None = None
    _parts: Sequence[Sequence[tuple[str, TextPair]]] = ()
    _leaves: list[Judge] = field(default_factory=list)
    _stored: list[StoredJudge] = field(default_factory=list)
    _refused: Set[str] = frozenset()

    def setup(self) -> None:
        """Makes the judge and reads the texts."""
        self._leaves, self._stored = [], []
        self._judge, rows = make_judge(self.judge, self._keep), self.texts.load()
        self._parts = (_by_digest if self._stored else _in_order)(rows, self.part_size)
        self._refused = self.budget.plan().refused if self.budget else frozenset()

    def part(self, index: int) -> PartResult[Score]:
        """The scores of one part; `extra` counts calls: computed, stored, and saved by duplicates and the budget.

        It also has the damaged files of the store that were met, each with its rows.
        """
        judge = self._judge
        assert judge is not None
        rows, label = self._parts[index], f"{judge.name}@{judge.version}"
        for kept in self._stored:
            kept.calls.clear()
        asked = [pair for row_id, pair in rows if row_id not in self._refused]
        distinct = list(dict.fromkeys(asked))
        said = dict(zip(distinct, guarded(judge, distinct), strict=True))
        each = max(1, len(self._stored))
        calls = {
            "computed": sum(kept.calls["computed"] for kept in self._stored) if self._stored else len(distinct),
            "stored": sum(kept.calls["stored"] for kept in self._stored),
            "duplicates": each * (len(asked) - len(distinct)),
            "refused": each * (len(rows) - len(asked)),
        }
        damaged = {name: n for kept in self._stored for name, n in kept.damaged.items()}
        return PartResult(
            [_score(row_id, label, REFUSED if row_id in self._refused else said[pair]) for row_id, pair in rows],
            extra={"calls": calls, **({"damaged": damaged} if damaged else {})},
        )

    def close(self) -> None:
        """Tells the judges that they are asked no more, so that what waits for a server fails at once."""
        for judge in self._leaves:
            if callable(close := getattr(judge, "close", None)):
                close()

    def _keep(self, judge: Judge, spec: Any) -> Judge:
        self._leaves.append(judge)
        asked = judge if _endpoint(judge) else cast("Judge", OneAtATime(judge))
        kept = _stored(judge, spec, self.store, asked=asked)
        if kept is None:
            return asked
        self._stored.append(kept)
        return cast("Judge", kept)


def with_calls(table: Table[Score], manifest: Manifest) -> Manifest:
    """The manifest, saved with the calls of its parts added up and the share of them that was saved.

    Tables for which no judge was asked, as those of a panel, have no such account. Rows of the store that were found
    damaged, and so asked for again, are counted and told.
    """
    extras = [table.info(i).extra for i in range(manifest.parts)]
    calls: dict[str, Any] = {name: sum(extra.get("calls", {}).get(name, 0) for extra in extras) for name in _CALLS}
    total = sum(calls.values())
    damaged = {name: n for extra in extras for name, n in extra.get("damaged", {}).items()}
    account = calls | {"saved": (total - calls["computed"]) / total} if total else None
    if account and damaged:
        account["damaged"] = sum(damaged.values())
    if manifest.extra.get("calls") == account:
        return manifest
    if account and damaged:
        _tell(f"{account['damaged']} rows of the score store were damaged and are put aside: {', '.join(damaged)}")
    manifest = dataclasses.replace(manifest, extra=manifest.extra | {"calls": account})
    manifest.save(table.folder)
    return manifest


def tell_why_again(table: Table[Score], key: StageKey) -> None:
    """Says so on stderr where the table holds scores by another version of the judge, which are made again."""
    there = Manifest.load(table.folder)
    before, now = (_version(config) for config in (there.config if there else {}, key.config))
    if before is not None and before != now:
        _tell(
            f"the scores in {table.folder} are by version {before} of the judge; by version {now} they are made again"
        )


def _version(config: Mapping[str, Any]) -> str | None:
    """The judge's version in the configuration of a table of scores."""
    blocks = config.get("blocks") or [None]
    return blocks[-1].get("version") if isinstance(blocks[-1], dict) else None


def _tell(message: str) -> None:
    print(f"note: {message}", file=sys.stderr)


_CALLS = ("computed", "stored", "duplicates", "refused")


def _is_dear(judge: Judge) -> bool:
    """Whether the judge says so; one that asks a server and says nothing is."""
    return bool(getattr(judge, "dear", _endpoint(judge) is not None))


def _endpoint(judge: Judge) -> EndpointSpec | None:
    """The server that the judge sends texts to, if it does."""
    found = getattr(judge, "endpoint", None)
    return found if isinstance(found, EndpointSpec) else None


def _substance(judge: Judge, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that can change a score: of a server the model alone, and of a file its content too."""
    ways: Collection[str] = getattr(judge, "ways", ())
    return {name: _with_content(value) for name, value in options.items() if name not in ways}


def _with_content(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > 1000 or not Path(value).expanduser().is_file():
        return value
    return [value, ids.file_sha256(Path(value).expanduser())]


def _in_order(rows: Sequence[tuple[str, TextPair]], size: int) -> list[Sequence[tuple[str, TextPair]]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _by_digest(rows: Sequence[tuple[str, TextPair]], size: int) -> list[Sequence[tuple[str, TextPair]]]:
    """As many parts as slices of that size would be, all rows of a pair of texts in the same one."""
    parts: list[list[tuple[str, TextPair]]] = [[] for _ in range(0, len(rows), size)]
    for row in rows:
        parts[int(pair_key(row[1]), 16) % len(parts)].append(row)
    return list(parts)


def _score(row_id: str, label: str, j: Judgement) -> Score:
    return Score(row_id, label, j.value, tuple(j.parts.items()), j.status, j.reason, tuple(j.notes.items()))
