"""What mining left in a run folder, for its report: counts, curves, and some questions of every set with images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from chexalign import atomic
from chexalign.data.answers import answer_text
from chexalign.evaluate.calibration import Calibration
from chexalign.evaluate.confidence import confidence
from chexalign.mine.purity import Purity
from chexalign.present.case import CaseImage
from chexalign.present.collect_cases import small_images
from chexalign.present.mining_data import MinedSet, Mining, ShownItem, ShownQuestion, Told, WrongAnswers
from chexalign.present.mining_words import rule_words, why
from chexalign.recipe import MineSpec, Recipe, folder_name
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest, Table
from chexalign.train.questions import spread_evenly
from chexalign.types import Counterfactual, EditKind, Estimate, MinedItem, Question

MOST_SHOWN = 60  # items of each set
_IMAGE_BYTES = 9_000_000  # of all their images in base64, beside those of the cases


def collect_mining(run: RunFolder, recipe: Recipe) -> Mining | None:
    """What there is of mining, with some items of each set; None for a recipe that mines nothing.

    Cost: reads the questions of the collection and the policy's answers to them once.
    """
    if recipe.mine is None:
        return None
    left = _Left(run, recipe.mine)
    counts = left.found.get("counts", {})
    images, gone = left.images(threads=recipe.workers)
    return Mining(
        rule=rule_words(recipe.mine),
        unfinished=list(left.unfinished()),
        counts={name: row for name, row in counts.items() if isinstance(row, dict)},
        totals={name: n for name, n in counts.items() if isinstance(n, int)},
        likeness=str(recipe.mine.likeness),
        sets=[left.set_of(select) for select in left.sets],
        purity=[_purity(row) for row in left.found.get("purity", [])],
        calibration=[Calibration.of(row) for row in left.found.get("calibration", [])],
        wrong=left.wrong_answers(),
        questions=left.shown_questions(images),
        images=list(images.values()),
        gone=gone,
        items=left.shown_items(),
        most_shown=MOST_SHOWN,
        of_arm={name: arm.select for name, arm in recipe.mine.arms.items()},
        rivals={name: _rivals(recipe.mine, name) for name in recipe.mine.arms},
    )


def not_evaluated(run: RunFolder, recipe: Recipe) -> list[str]:
    """The policies of mined sets whose reports are not written yet, or not scored."""
    judges = [folder_name(judge) for judge in recipe.measured()]
    return [
        name
        for name in recipe.mined_arms()
        if not (_done(run.predictions(name)) and all(_done(run.metric(judge, name)) for judge in judges))
    ]


def most_telling(rows: Sequence[MinedItem], most: int) -> list[MinedItem]:
    """At most so many items: seeds first and then neighbors, half of each where there are enough, spread evenly."""
    seeds = [row for row in rows if row.rank == 0]
    others = [row for row in rows if row.rank > 0]
    n_seeds = min(len(seeds), max(most - most // 2, most - len(others)))
    return [*spread_evenly(seeds, n_seeds), *spread_evenly(others, most - n_seeds)]


@dataclass(frozen=True)
class _Left:
    """The tables of mining that are finished."""

    run: RunFolder
    spec: MineSpec

    @cached_property
    def found(self) -> dict[str, Any]:
        """What found.json holds; nothing where it is not there."""
        path = self.run.mine_found
        return dict(atomic.read_json(path)) if path.is_file() else {}

    @cached_property
    def sets(self) -> dict[str, list[MinedItem]]:
        """The items of every set that is finished."""
        return {select: table.rows() for select in self.spec.selects if _done(table := self.run.mined(select))}

    @cached_property
    def wrong(self) -> dict[str, Counterfactual] | None:
        """The wrong answer beside each right one; None where they are not finished."""
        table = self.run.counterfactuals
        return {row.question_id: row for row in table.iter_rows()} if _done(table) else None

    @cached_property
    def shown(self) -> dict[str, list[MinedItem]]:
        """The items of every set that are shown."""
        return {select: most_telling(rows, MOST_SHOWN) for select, rows in self.sets.items()}

    @cached_property
    def questions(self) -> dict[str, Question]:
        """The questions of the items that are shown, and those of their seeds, in the order of their table."""
        items = [item for rows in self.shown.values() for item in rows]
        wanted = {name for item in items for name in (item.question_id, item.seed_id)}
        table = self.run.questions(self.spec.collection)
        return {q.id: q for q in table.iter_rows() if q.id in wanted} if wanted and _done(table) else {}

    @cached_property
    def told(self) -> dict[str, Told]:
        """What the policy answered to these questions."""
        how, table = self.spec.confidence, self.run.mine_answers
        if not (self.questions and _done(table)):
            return {}
        answers = (answer for answer in table.iter_rows() if answer.question_id in self.questions)
        return {
            a.question_id: Told(a.text, a.right, confidence(a, aggregate=how.aggregate, span=how.span)) for a in answers
        }

    def unfinished(self) -> Iterator[str]:
        """What of mining is not there yet, as it lies in the run folder."""
        sets = [self.run.mined(select) for select in self.spec.selects]
        tables: list[Table[Any]] = [self.run.mine_answers, *sets, self.run.counterfactuals]
        for table in tables:
            if not _done(table):
                yield str(table.folder.relative_to(self.run.root))
        if not self.found:
            yield str(self.run.mine_found.relative_to(self.run.root))

    def set_of(self, select: str) -> MinedSet:
        """The counts of a set."""
        rows, quotas = self.sets[select], self.found.get("sets", {}).get(select, {})
        known = self.wrong
        return MinedSet(
            select=select,
            arms=[name for name, arm in self.spec.arms.items() if arm.select == select],
            rows=Counter(row.group for row in rows),
            wanted=quotas.get("wanted", {}),
            short=quotas.get("short", {}),
            available=quotas.get("available", {}),
            seeds=sum(row.seed_id is not None and row.rank == 0 for row in rows),
            asked=sum(row.right is not None for row in rows),
            failed=sum(row.right is False for row in rows),
            without_wrong=None if known is None else sum(row.question_id not in known for row in rows),
        )

    def wrong_answers(self) -> WrongAnswers | None:
        """How the wrong answers came about; None where they are not finished."""
        manifest = Manifest.load(self.run.counterfactuals.folder)
        if manifest is None or self.wrong is None:
            return None
        ways: dict[str, Counter[str]] = {}
        for row in self.wrong.values():
            ways.setdefault(row.kind, Counter())[row.origin] += 1
        return WrongAnswers(
            dropped=manifest.dropped,
            proposals=manifest.extra.get("proposals", sum(row.tries for row in self.wrong.values())),
            turned_down=manifest.extra.get("rejected", {}),
            ways={kind: ways[kind] for kind in get_args(EditKind) if kind in ways},
            chosen_words=[len(row.chosen.split()) for row in self.wrong.values()],
            rejected_words=[len(row.rejected.split()) for row in self.wrong.values()],
        )

    def images(self, *, threads: int) -> tuple[dict[str, CaseImage], int]:
        """The images of these questions by the hash of their file, each once, and how many could not be read."""
        refs = {ref.sha256: ref for question in self.questions.values() for ref in question.images}
        made = small_images(self.run, list(refs.values()), threads=threads, budget=_IMAGE_BYTES)
        there = {sha: image for sha, image in zip(refs, made, strict=True) if image is not None}
        return there, len(refs) - len(there)

    def shown_questions(self, images: Mapping[str, CaseImage]) -> list[ShownQuestion]:
        """The questions with all that is told about them."""
        at, known = {sha: i for i, sha in enumerate(images)}, self.wrong or {}
        return [
            ShownQuestion(
                question=q,
                right=answer_text(q),
                images=[(at[ref.sha256], _called(q, place)) for place, ref in enumerate(q.images) if ref.sha256 in at],
                told=self.told.get(q.id),
                wrong=known.get(q.id),
            )
            for q in self.questions.values()
        ]

    def shown_items(self) -> list[ShownItem]:
        """Why each of the shown questions is in its set."""
        at = {name: i for i, name in enumerate(self.questions)}
        return [
            ShownItem(
                select=select,
                question=at[item.question_id],
                group=item.group,
                seed=at.get(item.seed_id) if item.seed_id is not None else None,
                rank=item.rank,
                distance=item.distance,
                why=why(item, select, self.spec.failures),
            )
            for select, items in self.shown.items()
            for item in items
            if item.question_id in at
        ]


def _rivals(spec: MineSpec, name: str) -> list[str]:
    """The policies that learned with the same algorithm from questions drawn at random."""
    algorithm = spec.arms[name].train.algorithm
    return [other for other in spec.baselines() if other != name and spec.arms[other].train.algorithm == algorithm]


def _done(table: Table[Any]) -> bool:
    return Manifest.load(table.folder) is not None


def _called(question: Question, place: int) -> str:
    """What an image of a question is called: its view, and where there are two, which exam it is of."""
    ref = question.images[place]
    exam = {"current": "current exam", "prior": "earlier exam"}[ref.role] if len(question.images) > 1 else ""
    return ", ".join(filter(None, (exam, "" if ref.view == "unknown" else ref.view)))


def _purity(row: Mapping[str, Any]) -> Purity:
    return Purity(row["variant"], tuple(Estimate(**estimate) for estimate in row["curve"]), row["base_rate"])
