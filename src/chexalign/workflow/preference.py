"""From candidates to policies trained on preferences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chexalign.judges import stage as judging
from chexalign.judges.budget import Budget, with_budget
from chexalign.judges.panel import PanelWorker
from chexalign.policy.base import Decoding
from chexalign.recipe import Arm, JudgeSpec, MinedArm, SampleSpec, folder_name
from chexalign.recipe.mine import SFT_AGAIN
from chexalign.run_folder import SFT
from chexalign.spread import PartWorker, Threads
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest, Table
from chexalign.types import Score
from chexalign.workflow.mining import Mining
from chexalign.workflow.once import once
from chexalign.workflow.stages import need

SCORES_PER_PART = 400


@dataclass(frozen=True, slots=True)
class Preference(Mining):
    """Candidates, their scores, pairs, and the policies that learn from them."""

    @once
    def prompts(self) -> Manifest:
        """The prompts of the split that candidates are drawn for."""
        from chexalign.sample.stage import PromptsWorker

        studies, spec = self.studies(), self.recipe.sample
        template = self.recipe.policy.template
        config = {"split": spec.split, "template": template, "part_size": spec.part_size}
        worker = PromptsWorker(self.run, spec.split, self._template(), spec.part_size, self._counts(spec.split))
        key = self.key("prompts", {"studies": studies}, config)
        return run_parts(self.run.prompts, worker, key=key, n_parts=worker.n_parts)

    @once
    def candidates(self, limit: int | None = None) -> Manifest:
        """Candidates of the SFT policy; with a limit, no parts after those of the first so many prompts."""
        from chexalign.sample.stage import CandidatesWorker
        from chexalign.sample.usage import with_usage

        sft, prompts, spec = self.sft(), self.prompts(), self.recipe.sample
        policy = {"images": self.recipe.policy.max_images, **self._generation()}
        key = self.key("candidates", {"sft": sft, "prompts": prompts}, spec.substance(), policy)
        worker = CandidatesWorker(
            run=self.run,
            source=self._source(spec.endpoint, SFT),
            decoding=Decoding(spec.max_new_tokens, spec.temperature, spec.top_p, spec.top_k),
            n=spec.n,
            batch_size=None if spec.batch_size == "auto" or spec.endpoint else spec.batch_size,
            max_images=self.recipe.policy.max_images,
            seed=self.recipe.seed,
        )
        manifest = run_parts(
            self.run.candidates,
            worker,
            key=key,
            n_parts=prompts.parts,
            workers=self._generators(),
            spread=self._spread() if spec.endpoint is None else Threads(parts_under_way(spec), worker.close),
            most_dropped=int(spec.max_dropped * prompts.rows),
            only=None if limit is None else -(-limit // spec.part_size),
        )
        return manifest if spec.endpoint is None else with_usage(self.run.candidates, manifest)

    @once
    def scores(self, judge: JudgeSpec) -> Manifest:
        """The scores of one judge for every candidate, or for the share of them that its budget allows."""
        if judge.name == "panel":
            return self._panel(judge)
        inputs, version, budget = {"candidates": self.candidates()}, self._about(judge).substance(), None
        if judge.budget is not None:
            inputs["first"] = self.scores(judge.budget.first)
            first = folder_name(judge.budget.first)
            budget = Budget(self.run, judge.budget.share, first, judge.budget.check, self.recipe.seed)
        table, texts = self.run.scores(folder_name(judge)), judging.CandidateTexts(self.run)
        worker = judging.ScoresWorker(judge, texts, SCORES_PER_PART, judging.score_store_folder(self.run), budget)
        key = self.key("scores", inputs, judge.substance(), version)
        manifest = self._scored(table, worker, key, inputs["candidates"].rows, f"scores {folder_name(judge)}")
        if budget is None:
            return manifest
        return with_budget(table, manifest, budget, split=self.recipe.sample.split, level=self.recipe.evaluate.level)

    def _panel(self, judge: JudgeSpec) -> Manifest:
        """The ranks of a panel: a view over its judges' scores."""
        inputs = {folder_name(inner): self.scores(inner) for inner in judge.inner}
        made, table = judging.make_judge(judge), self.run.scores(folder_name(judge))
        worker = PanelWorker(self.run, f"{made.name}@{made.version}", list(inputs))
        key = self.key(
            "scores", inputs | {"candidates": self.candidates()}, judge.substance(), {"version": made.version}
        )
        label = f"scores {folder_name(judge)}"
        return judging.with_calls(table, run_parts(table, worker, key=key, n_parts=1, label=label))

    def _scored(
        self, table: Table[Score], worker: judging.ScoresWorker, key: StageKey, rows: int, label: str
    ) -> Manifest:
        about, n_parts = self._about(worker.judge), -(-rows // SCORES_PER_PART)
        workers = self._generators() if about.fills_gpu else self.recipe.workers
        # Servers are asked by one process, so that they see as many requests at a time as the recipe says.
        served = Threads(about.parts_under_way, worker.close) if about.endpoints else None
        spread = served or self._spread()
        judging.tell_why_again(table, key)
        manifest = run_parts(table, worker, key=key, n_parts=n_parts, workers=workers, spread=spread, label=label)
        return judging.with_calls(table, manifest)

    @once
    def _about(self, judge: JudgeSpec) -> judging.About:
        """What is to be known of a judge, once it is sure that texts may go where it sends them."""
        about = judging.about_judge(judge)
        for endpoint in about.endpoints:
            self._may_go_to(endpoint)
        return about

    @once
    def pairs(self, name: str, arm: Arm | MinedArm) -> Manifest:
        """The preference pairs of an arm, or its verdicts: a view over its judge's scores, or over mined questions.

        Raises: UserError when the judge does not pass a probe that the recipe requires.
        """
        from chexalign.judges.probes import require_passed_on
        from chexalign.pairs.stage import PairsWorker, VerdictsWorker, gives_verdicts, table_of_arm

        if isinstance(arm, MinedArm):
            return self.mined_pairs(name, arm)
        if arm.pairs.require_probes:
            self._about(arm.judge)  # which sees to it that its texts may go where it sends them
            judge = judging.make_keeping(arm.judge, judging.score_store_folder(self.run))
            require_passed_on(self.run, judge, arm.pairs.require_probes, split=self.recipe.sample.split)
        scores, candidates = self.scores(arm.judge), self.candidates()
        key = self.key("pairs", {"scores": scores, "candidates": candidates}, arm.pairs)
        make = VerdictsWorker if gives_verdicts(arm) else PairsWorker
        table: Table[Any] = table_of_arm(self.run, name, arm)
        worker: PartWorker[Any] = make(self.run, arm, self.recipe.seed)
        return run_parts(table, worker, key=key, n_parts=1, label=f"pairs {name}")

    @once
    def ref_logps(self) -> Manifest:
        """Reference log-probs of every text that some arm learns from."""
        from chexalign.losses.make import make_loss
        from chexalign.train.lessons import lessons_of
        from chexalign.train.ref_logps import RefLogpsWorker, ref_table, requests_of, with_sources

        learners = {n: arm for n, arm in self.recipe.learners().items() if arm.train.algorithm != SFT_AGAIN}
        losses = {name: make_loss(arm.train) for name, arm in learners.items()}
        arms = {name: arm for name, arm in learners.items() if losses[name].needs_ref}
        sft = self.sft()
        inputs = {f"pairs/{name}": self.pairs(name, arm) for name, arm in arms.items()} | {"sft": sft}
        used: set[tuple[str, str]] = set()
        for name, arm in arms.items():
            verdicts = _gives_verdicts(arm)
            used |= lessons_of(self.run, name, arm.train, verdicts=verdicts, seed=self.recipe.seed).used()
        policy = self.recipe.policy
        mismatched = sorted(name for name in arms if losses[name].needs_kl)
        precision = self.recipe.compute.precision if self.recipe.compute else "fp32"
        worker = RefLogpsWorker(
            self.run,
            requests_of(used),
            policy.max_images,
            weights=sft.content,
            precision=precision,
            trust_remote_code=policy.trust_remote_code,
        )
        config = {"max_images": policy.max_images, "mismatched": mismatched, "precision": precision}
        table = ref_table(self.run)
        manifest = run_parts(
            table,
            worker,
            key=self.key("ref_logps", inputs, config),
            n_parts=worker.n_parts,
            workers=self.recipe.workers,
            label="reference log-probs",
        )
        return with_sources(table, manifest)

    @once
    def train(self, name: str, arm: Arm | MinedArm) -> Manifest:
        """The policy of an arm; of several processes all train together."""
        from chexalign.train.launch import first_alone
        from chexalign.train.preference import PreferenceJob

        sft = self.sft()  # before the others, which lean on it: this is joint work, and they are the first process's
        pairs, refs = first_alone(lambda: (self.pairs(name, arm), self.ref_logps()))
        policy = self.recipe.policy
        inputs = {"pairs": pairs, "ref_logps": refs, "sft": sft}
        lora = {"lora": policy.lora.model_dump(mode="json")} if policy.lora else {}
        key = self.key("train", inputs, arm.train, {"freeze": policy.freeze, **lora, **self._hardware()})
        PreferenceJob(
            run_folder=self.run,
            arm=name,
            train=arm.train,
            compute=self.recipe.compute,
            frozen=tuple(policy.freeze),
            max_images=policy.max_images,
            max_tokens=policy.max_tokens,
            threads=self.recipe.threads,
            key=key,
            lora=policy.lora,
            recipe=self.recipe.digest(),
            verdicts=_gives_verdicts(arm),
        ).run()
        return need(self.run.policy(name))

    def policy(self, name: str) -> Manifest:
        """A policy by its name: `sft`, or that of an arm."""
        return self.sft() if name == SFT else self.train(name, self.recipe.learners()[name])


def _gives_verdicts(arm: Arm | MinedArm) -> bool:
    from chexalign.pairs.stage import gives_verdicts

    return isinstance(arm, Arm) and gives_verdicts(arm)


def parts_under_way(spec: SampleSpec) -> int:
    """Parts that are asked of a server at the same time: while one ends, the requests of others fill its room."""
    assert spec.endpoint is not None
    return max(4, 2 * spec.endpoint.concurrency // spec.part_size + 1)
