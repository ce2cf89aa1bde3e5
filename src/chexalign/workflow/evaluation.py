"""A recipe carried out to its end: what policies write is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chexalign.judges import stage as judging
from chexalign.policy.base import Decoding
from chexalign.recipe import CollectionSpec, JudgeSpec, folder_name
from chexalign.run_folder import SFT, SHUFFLED
from chexalign.stage import run_parts
from chexalign.store import Manifest
from chexalign.types import Estimate
from chexalign.workflow.once import once
from chexalign.workflow.preference import SCORES_PER_PART, Preference

_QUESTION_TYPES = {"question_types": 1}  # estimates without numbers by type of question, of older versions, are redone


@dataclass(frozen=True, slots=True)
class Workflow(Preference):
    """The stages of one run; each method does what is missing of one stage and returns its manifest."""

    @once
    def predictions(self, name: str) -> Manifest:
        """Reports of a policy (an arm, `sft`, or `sft_shuffled`) for the evaluated split."""
        from chexalign.evaluate.predict import PredictionsWorker

        checkpoint = SFT if name == SHUFFLED else name
        policy = self.policy(checkpoint)
        studies = self.studies()
        spec = self.recipe.evaluate
        n = sum(self._counts(spec.split))
        worker = PredictionsWorker(
            run=self.run,
            name=name,
            source=self._source(None, checkpoint),
            split=spec.split,
            template=self._template(),
            decoding=Decoding(spec.max_new_tokens, spec.temperature),
            part_size=spec.batch_size,
            max_images=self.recipe.policy.max_images,
            shuffled=name == SHUFFLED,
            seed=self.recipe.seed,
        )
        config = {
            "name": name,
            "split": spec.split,
            "tokens": spec.max_new_tokens,
            "batch": spec.batch_size,
            **({"temperature": spec.temperature} if spec.temperature else {}),
            **self._generation(),
        }
        key = self.key("predictions", {"policy": policy, "studies": studies}, config)
        return run_parts(
            self.run.predictions(name),
            worker,
            key=key,
            n_parts=-(-n // spec.batch_size),
            workers=self._generators(),
            spread=self._spread(),
            label=f"predictions {name}",
        )

    @once
    def answers(self, spec: CollectionSpec, name: str) -> Manifest:
        """A policy's answers to the questions of a collection, in every order of their options."""
        from chexalign.evaluate.answers import AnswersWorker, asked

        policy = self.policy(name)
        block, questions = self.recipe.questions, self.questions(spec)
        assert block is not None
        n = len(asked(self.run, spec.source, block.split, spec.limit))
        worker = AnswersWorker(
            run=self.run,
            collection=spec.source,
            name=name,
            source=self._source(None, name),
            split=block.split,
            decoding=Decoding(block.max_new_tokens),
            part_size=block.batch_size,
            max_images=self.recipe.policy.max_images,
            orders=block.orders,
            scoring=block.scoring,
            limit=spec.limit,
            confidence=block.confidence is not None,
        )
        config = block.model_dump(mode="json", exclude={"collections", "tax_bound", "confidence"})
        if block.confidence is not None:  # how log-probs become one number is the business of the estimates
            config["token_logps"] = True
        about = {"name": name, "limit": spec.limit, "images": self.recipe.policy.max_images, **self._generation()}
        key = self.key("answers", {"policy": policy, "questions": questions}, config, about)
        return run_parts(
            self.run.answers(spec.source, name),
            worker,
            key=key,
            n_parts=-(-n // block.batch_size),
            workers=self._generators(),
            spread=self._spread(),
            label=f"answers {spec.source} of {name}",
        )

    @once
    def metric(self, judge: JudgeSpec, name: str) -> Manifest:
        """A judge's scores of a policy's predictions, all of them whatever its budget."""
        judge = judge.unlimited
        predictions, folder = self.predictions(name), folder_name(judge)
        key = self.key("metric", {"predictions": predictions}, judge.substance(), self._about(judge).substance())
        texts = judging.PredictionTexts(self.run, name)
        worker = judging.ScoresWorker(judge, texts, SCORES_PER_PART, judging.score_store_folder(self.run))
        return self._scored(self.run.metric(folder, name), worker, key, predictions.rows, f"{folder} of {name}")

    def estimates(self) -> list[Estimate]:
        """Every number of the run with its interval, after all that it rests on."""
        from chexalign.evaluate.stage import write_estimates

        for name in self.recipe.learners():
            self.policy(name)
        spec, judges = self.recipe.evaluate, self.recipe.measured()
        metrics = {
            f"{folder_name(judge)}/{name}": self.metric(judge, name) for name in self.policies for judge in judges
        }
        learners, block = list(self.recipe.learners()), self.recipe.questions
        for collection in block.collections if block else ():
            if collection.evaluate:
                for name in (SFT, *learners):
                    metrics[f"answers/{collection.source}/{name}"] = self.answers(collection, name)
        asked = [block.model_dump(mode="json", include={"tax_bound", "confidence"}) | _QUESTION_TYPES] if block else []
        key = self.key("estimates", metrics, spec, *asked)
        names = [folder_name(judge) for judge in judges]
        own = {name: folder_name(arm.judge) for name, arm in self.recipe.resolved_arms().items()}
        mine = self.recipe.mine
        return write_estimates(
            self.run,
            key,
            spec=spec,
            policies=self.policies,
            judges=names,
            learned_from=own,
            questions=block,
            baselines=[SFT, *(mine.baselines() if mine else ())],
        )

    @property
    def policies(self) -> Sequence[str]:
        """What is evaluated, in order: the SFT policy, its control, and every arm."""
        return [SFT, SHUFFLED, *self.recipe.learners()]
