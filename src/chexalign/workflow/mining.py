"""From the questions of SFT to preference pairs of the hard ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chexalign import atomic
from chexalign.data.questions import TRAIN
from chexalign.policy.base import Decoding
from chexalign.privacy import check_license
from chexalign.recipe import CollectionSpec, EndpointSpec, MinedArm, MineSpec
from chexalign.run_folder import SFT
from chexalign.stage import run_parts
from chexalign.store import Manifest
from chexalign.workflow.once import once
from chexalign.workflow.stages import Stages

if TYPE_CHECKING:
    from chexalign.mine.gallery import Gallery
    from chexalign.mine.select import Selection

_COUNTERFACTUALS_PER_PART = 100


@dataclass(frozen=True, slots=True)
class Mining(Stages):
    """What the policy fails, which questions are like that, and a wrong answer beside each right one."""

    @once
    def mine_answers(self) -> Manifest:
        """The SFT policy's answers to the questions that it learned from, or to `mine.ask` of them."""
        from chexalign.evaluate.answers import AnswersWorker

        spec, sft, questions = self._mine, self.sft(), self.questions(self._mined_collection)
        asked = self._gallery().asked(spec.ask)
        worker = AnswersWorker(
            run=self.run,
            collection=spec.collection,
            name=SFT,
            source=self._source(None, SFT),
            split=TRAIN,
            decoding=Decoding(spec.max_new_tokens),
            part_size=spec.batch_size,
            max_images=self.recipe.policy.max_images,
            confidence=True,
            only=asked,
        )
        config = spec.model_dump(mode="json", include={"collection", "ask", "max_new_tokens", "batch_size"})
        about = {"images": self.recipe.policy.max_images, "sft": self._mined_collection.sft, **self._generation()}
        return run_parts(
            self.run.mine_answers,
            worker,
            key=self.key("mine_answers", {"sft": sft, "questions": questions}, config, about),
            n_parts=-(-len(asked) // spec.batch_size),
            workers=self._generators(),
            spread=self._spread(),
            label="mine: answers",
        )

    @once
    def mined(self) -> dict[str, Manifest]:
        """The set of each way of selecting that some arm names, and found.json beside them."""
        from chexalign.mine.select import SetWorker

        spec = self._mine
        inputs = {
            "answers": self.mine_answers(),
            "sft": self.sft(),
            "questions": self.questions(self._mined_collection),
        }
        config = spec.model_dump(mode="json", exclude={"counterfactual", "arms", "purity"})
        about = {"sft": self._mined_collection.sft, "images": self.recipe.policy.max_images}
        made: dict[str, Manifest] = {}
        for select in spec.selects:
            key = self.key("mined", inputs, config, about, {"select": select})
            made[select] = run_parts(
                self.run.mined(select), SetWorker(select, self._selection), key=key, n_parts=1, label=f"mine: {select}"
            )
        self._found(made, inputs)
        return made

    def _found(self, sets: dict[str, Manifest], inputs: dict[str, Manifest]) -> None:
        """Writes found.json, unless it is that of these sets."""
        from chexalign.mine.found import found

        spec, evaluate = self._mine, self.recipe.evaluate
        key = self.key(
            "mine_found", inputs | sets, {"purity": spec.purity, "k": spec.k}, [evaluate.bootstrap, evaluate.level]
        )
        path = self.run.mine_found
        if path.is_file() and atomic.read_json(path).get("fingerprint") == key.fingerprint:
            return
        quotas = {name: self._account(name, manifest) for name, manifest in sets.items()}
        content = found(self._selection(), quotas, resamples=evaluate.bootstrap, level=evaluate.level)
        atomic.remove_leftovers(path.parent)
        atomic.write_json(path, {"fingerprint": key.fingerprint, **content})

    def _account(self, select: str, manifest: Manifest) -> Any:
        info = self.run.mined(select).part_info(0, fingerprint=manifest.fingerprint)
        assert info is not None
        return info.extra["quotas"]

    @once
    def counterfactuals(self) -> Manifest:
        """A wrong answer that the verifier lets pass, beside the right one, for each question of some set."""
        from chexalign.mine.counterfactual import CounterfactualWorker, with_account

        sets, spec = self.mined(), self._mine.counterfactual
        if spec.endpoint is not None:
            self._questions_may_go_to(spec.endpoint)
        ids = sorted({item.question_id for name in sets for item in self.run.mined(name).iter_rows()})
        worker = CounterfactualWorker(
            run=self.run,
            collection=self._mine.collection,
            ids=ids,
            spec=spec,
            part_size=_COUNTERFACTUALS_PER_PART,
            seed=self.recipe.seed,
            policy=self._source(None, SFT) if spec.max_drop is not None else None,
            max_images=self.recipe.policy.max_images,
        )
        inputs = {"answers": self.mine_answers(), "questions": self.questions(self._mined_collection), **sets}
        key = self.key("counterfactuals", inputs, spec.substance(), {"generator": worker.version})
        manifest = run_parts(
            self.run.counterfactuals,
            worker,
            key=key,
            n_parts=-(-len(ids) // _COUNTERFACTUALS_PER_PART),
            workers=1 if spec.endpoint else self.recipe.workers,
            label="mine: wrong answers",
        )
        items = self._gallery().items
        patients = dict(zip(items.ids, items.patients, strict=True))
        return with_account(self.run.counterfactuals, manifest, patients, seed=self.recipe.seed)

    def _questions_may_go_to(self, endpoint: EndpointSpec) -> None:
        """Raises: UserError for a server that may not have the questions, by their own terms."""
        table = self.run.questions(self._mine.collection)
        parts = range(self.questions(self._mined_collection).parts)
        for license_ in sorted({license_ for i in parts for license_ in table.column(i, "license")}):
            check_license(endpoint.url, license_, endpoint_is_mine=endpoint.endpoint_is_mine)

    @once
    def mined_pairs(self, name: str, arm: MinedArm) -> Manifest:
        """The preference pairs of an arm that learns from a mined set."""
        from chexalign.mine.pairs import MinedPairsWorker

        inputs = {"set": self.mined()[arm.select], "counterfactuals": self.counterfactuals()}
        key = self.key("mined_pairs", inputs, {"select": arm.select})
        worker = MinedPairsWorker(self.run, self._mine.collection, arm.select)
        return run_parts(self.run.pairs(name), worker, key=key, n_parts=1, label=f"pairs {name}")

    @once
    def _selection(self) -> Selection:
        from chexalign.mine.select import load_selection

        return load_selection(self.run, self._gallery(), self._mine, seed=self.recipe.seed)

    @once
    def _gallery(self) -> Gallery:
        from chexalign.mine.gallery import Gallery
        from chexalign.train.questions import evaluated_patients

        collection, spec = self._mined_collection, self._mine
        return Gallery.load(
            self.run,
            collection.source,
            collection.sft,
            evaluated=evaluated_patients(self.run, [c.source for c in self._collections()]),
            max_images=self.recipe.policy.max_images,
            groups=spec.groups,
        )

    @property
    def _mine(self) -> MineSpec:
        assert self.recipe.mine is not None
        return self.recipe.mine

    @property
    def _mined_collection(self) -> CollectionSpec:
        return next(c for c in self._collections() if c.source == self._mine.collection)
