"""The stage that puts a wrong answer beside the right one: the policy's own, or the first edit that may be."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chexalign.data.answers import answer_text, ask_text
from chexalign.data.questions import TRAIN
from chexalign.errors import UserError
from chexalign.mine.edits.others import Others
from chexalign.mine.edits.rules import RulesGenerator
from chexalign.mine.fluency import Heard, hear
from chexalign.mine.leakage import leakage
from chexalign.mine.records import Counterfactual, Edit, Generator
from chexalign.mine.verify import Limits, question_fault, verify
from chexalign.policy.base import Ask, AskError
from chexalign.policy.source import PolicySource
from chexalign.recipe.mine import CounterfactualSpec
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.store import Manifest, Table
from chexalign.types import Question

_HEARD_TOGETHER = 16  # questions, each with two texts


@dataclass(slots=True)
class CounterfactualWorker:
    """Makes the counterfactuals of a fixed slice of questions per part.

    With a `policy`, every proposal that passes otherwise is also read by it, which tells how fluent it is.
    """

    run: RunFolder
    collection: str
    ids: Sequence[str]  # of the questions, sorted
    spec: CounterfactualSpec
    part_size: int
    seed: int
    policy: PolicySource | None = None
    max_images: int = 2
    _policy: Any = None
    _generator: Any = None
    _questions: Mapping[str, Question] = field(default_factory=dict)
    _own: Mapping[str, Edit] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """What proposes, as the rows depend on it; nothing is asked or read yet."""
        return open_generator(self.run, self.spec, seed=self.seed).version

    @property
    def n_parts(self) -> int:
        """How many parts the questions fill."""
        return -(-len(self.ids) // self.part_size)

    def setup(self) -> None:
        """Reads the questions and the policy's own answers, and opens what proposes.

        Raises: UserError when a question is not in the table.
        """
        wanted = set(self.ids)
        table = self.run.questions(self.collection)
        self._questions = {q.id: q for q in table.iter_rows() if q.id in wanted}
        if missing := wanted - self._questions.keys():
            raise UserError(
                f"{len(missing)} of the mined questions are not among those of {self.collection}, as {min(missing)}.",
                "The questions were made anew after they were mined.",
                "Run `chexalign mine` with the same recipe again; what is stale is made again.",
            )
        self._own = own_answers(self.run, wanted) if self.spec.own == "first" else {}
        others = Others.of(q for q in table.iter_rows() if q.split == TRAIN)
        self._generator = open_generator(self.run, self.spec, seed=self.seed, others=others)
        self._policy = self.policy.open() if self.policy is not None else None

    def part(self, index: int) -> PartResult[Counterfactual]:
        """The counterfactuals of one slice; why questions have none, and how often proposals were rejected."""
        slice_ = self.ids[index * self.part_size : (index + 1) * self.part_size]
        limits = Limits(ratio=self.spec.max_length_ratio, max_drop=self.spec.max_drop)
        trials = [Trial(self._questions[id_], limits) for id_ in slice_]
        open_ = [trial for trial in trials if trial.reason is None]
        for trial in open_:
            trial.offer([self._own[trial.question.id]] if trial.question.id in self._own else [])
        self._decide(open_)
        left = [trial for trial in open_ if trial.found is None and not trial.given_up]
        for trial, proposals in zip(left, self._generator.propose([t.question for t in left]), strict=True):
            trial.offer(proposals.edits, proposals.failed)
        self._decide(left)
        rejected = Counter[str]()
        for trial in trials:
            rejected += trial.rejected
        rows = [trial.row() for trial in trials if trial.found is not None]
        dropped = Counter(str(trial.reason) for trial in trials if trial.found is None)
        looked_at = sum(trial.tries for trial in trials)
        return PartResult(
            rows, dict(dropped), extra={"proposals": looked_at, "rejected": dict(sorted(rejected.items()))}
        )

    def _decide(self, trials: Sequence[Trial]) -> None:
        """Goes through what each has been offered, up to the first that passes."""
        waiting = [trial for trial in trials if trial.advance()]
        while waiting and self._policy is not None:
            for start in range(0, len(waiting), _HEARD_TOGETHER):
                self._listen(waiting[start : start + _HEARD_TOGETHER])
            waiting = [trial for trial in waiting if trial.found is None and trial.advance()]
        for trial in waiting:
            trial.accept()

    def _listen(self, batch: Sequence[Trial]) -> None:
        left = list(batch)
        while left:
            asks = [self._ask(trial.question) for trial in left]
            try:
                heard = hear(self._policy, asks, [[trial.chosen, trial.edit.text] for trial in left])
            except AskError as e:
                left.pop(e.index).give_up(e.reason)
                continue
            for trial, (chosen, rejected) in zip(left, heard, strict=True):
                trial.accept((chosen, rejected))
            return

    def _ask(self, question: Question) -> Ask:
        images = question.images[: self.max_images]
        return Ask(ask_text(question), tuple(self.run.image_path(image) for image in images))


class Trial:
    """What is proposed for one question, in order, and what became of it."""

    def __init__(self, question: Question, limits: Limits) -> None:
        self.question, self.limits, self.chosen = question, limits, answer_text(question)
        self.reason = question_fault(question, self.chosen)  # why there is nothing yet, the last one
        self.found: Edit | None = None
        self.rejected = Counter[str]()
        self.tries = 0
        self.given_up = False
        self._left: Iterator[Edit] = iter(())
        self._edit: Edit | None = None

    @property
    def edit(self) -> Edit:
        """The proposal that is looked at."""
        assert self._edit is not None
        return self._edit

    def offer(self, edits: Sequence[Edit], failed: str | None = None) -> None:
        """Adds proposals; `failed` says why there are none."""
        self._left = iter(edits)
        if not edits:
            self.reason = failed or self.reason or "no_edit"

    def advance(self) -> bool:
        """Goes on to the next proposal that passes as far as its text tells; False where there is none."""
        for edit in self._left:
            self._edit, self.tries = edit, self.tries + 1
            reason = verify(self.question, self.chosen, edit, limits=self.limits)
            if reason is None:
                return True
            self._reject(reason)
        return False

    def accept(self, heard: tuple[Heard, Heard] | None = None) -> None:
        """Takes the proposal that is looked at, unless what a policy finds of it speaks against it."""
        reason = None
        if heard is not None:
            reason = verify(self.question, self.chosen, self.edit, limits=self.limits, heard=heard)
        if reason is None:
            self.found = self.edit
        else:
            self._reject(reason)

    def give_up(self, reason: str) -> None:
        """Drops the question, whatever else is proposed."""
        self.reason, self.given_up, self._left = reason, True, iter(())

    def row(self) -> Counterfactual:
        """The record of what was found."""
        edit, question = self.edit, self.question
        return Counterfactual(
            question.id, self.chosen, edit.text, edit.kind, edit.origin, edit.answers, tries=self.tries
        )

    def _reject(self, reason: str) -> None:
        self.reason = reason
        self.rejected[reason] += 1


def open_generator(run: RunFolder, spec: CounterfactualSpec, *, seed: int, others: Others | None = None) -> Generator:
    """What proposes edits, by its name in the recipe; a server is not asked yet.

    Raises: UserError for a prompt file that cannot be read.
    """
    if spec.endpoint is None:
        return RulesGenerator(seed, others or Others())
    from chexalign.mine.llm.generator import LlmGenerator, LlmSettings, replies_folder

    settings = LlmSettings(
        prompt=spec.prompt,
        temperature=spec.temperature,
        max_tokens=spec.max_new_tokens,
        n=spec.proposals,
        seed=seed,
    )
    return LlmGenerator(spec.endpoint, settings, store=replies_folder(run))


def own_answers(run: RunFolder, wanted: set[str]) -> dict[str, Edit]:
    """The policy's wrong answers to the questions, as it wrote them; what cannot be read is no answer.

    Raises: UserError when the policy was not asked yet.
    """
    return {
        answer.question_id: Edit(answer.text, "own", answer.read, "own")
        for answer in run.mine_answers.iter_rows()
        if answer.question_id in wanted
        and answer.right is False
        and answer.read is not None
        and (answer.scoring, answer.order) == ("generation", 0)
    }


def with_account(
    table: Table[Counterfactual], manifest: Manifest, patients: Mapping[str, str], *, seed: int
) -> Manifest:
    """The manifest, saved with how many proposals were looked at, and how many rejected for which reason.

    `leakage` says what tells chosen from rejected besides the content; `patients` are those of the questions.
    """
    if "rejected" in manifest.extra:
        return manifest
    extras = [table.info(index).extra for index in range(manifest.parts)]
    rejected = Counter[str]()
    for extra in extras:
        rejected.update(extra["rejected"])
    told = leakage(table.rows(), patients, split=TRAIN, seed=seed) if manifest.rows else []
    account = {
        "proposals": sum(e["proposals"] for e in extras),
        "rejected": dict(sorted(rejected.items())),
        "leakage": [dataclasses.asdict(estimate) for estimate in told],
    }
    manifest = dataclasses.replace(manifest, extra=manifest.extra | account)
    manifest.save(table.folder)
    return manifest
