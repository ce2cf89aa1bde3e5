"""The stages that all others stand on: studies and the SFT policy, and how a recipe's work is laid on the machine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexalign import atomic, ids
from chexalign.data.collect import make_source
from chexalign.data.prepare import StudiesWorker
from chexalign.data.questions import QuestionItem, QuestionSource, QuestionsWorker
from chexalign.data.templates import Template, get_template
from chexalign.errors import UserError
from chexalign.privacy import check_license
from chexalign.recipe import CollectionSpec, ComputeSpec, EndpointSpec, Recipe
from chexalign.run_folder import SFT, RunFolder
from chexalign.spread import Spread
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest
from chexalign.workflow.datasets import make_dataset
from chexalign.workflow.once import once

if TYPE_CHECKING:
    from chexalign.policy.source import PolicySource

_STUDIES_PER_PART = 100


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of one run; each method does what is missing of one stage and returns its manifest."""

    recipe: Recipe
    run: RunFolder
    _known: dict[str, Any] = field(default_factory=dict)

    def key(self, stage: str, inputs: dict[str, Manifest], *configs: Any) -> StageKey:
        """The key of a stage that reads these inputs and these blocks of the recipe."""
        config = {"blocks": [c.model_dump(mode="json") if hasattr(c, "model_dump") else c for c in configs]}
        return StageKey(stage, {name: m.content for name, m in inputs.items()}, config, self.recipe.seed)

    @once
    def studies(self) -> Manifest:
        """Study rows of all splits, and the images that the dataset makes."""
        table, dataset = self.run.studies, make_dataset(self.recipe)
        key = StageKey("studies", {}, {"blocks": [self.recipe.data.model_dump(mode="json")]}, 0)
        items, dropped = dataset.items()
        worker = StudiesWorker(dataset, items, self.run.images, part_size=_STUDIES_PER_PART)
        del items  # the worker has them packed
        atomic.remove_leftovers(atomic.make_folder(self.run.images))
        return run_parts(
            table, worker, key=key, n_parts=worker.n_parts, workers=self.recipe.workers, dropped_before=dropped
        )

    @once
    def questions(self, spec: CollectionSpec) -> Manifest:
        """The questions of a collection, and the images that have to be decoded for them."""
        source, about = question_source(spec), {"source": spec.source, "options": _plain_options(spec)}
        key = StageKey("questions", {}, about | ({"tasks": spec.tasks} if spec.tasks else {}), 0)
        items, dropped = question_items(source, spec)
        worker = QuestionsWorker(source, items, self.run.images, part_size=_STUDIES_PER_PART)
        atomic.remove_leftovers(atomic.make_folder(self.run.images))
        return run_parts(
            self.run.questions(spec.source),
            worker,
            key=key,
            n_parts=worker.n_parts,
            workers=self.recipe.workers,
            dropped_before=dropped,
            label=f"questions {spec.source}",
        )

    @once
    def sft(self) -> Manifest:
        """The SFT policy: fine-tuned from the tiny policy's parts or from the recipe's folder, or that folder as is.

        Of several processes all train together; the first one alone does what comes before.
        """
        from chexalign.train.launch import first_alone

        studies, base, base_manifest = first_alone(self._base)
        if self.recipe.sft is None:
            return first_alone(lambda: self._adopt(base, base_manifest))
        from chexalign.train.sft import SFTJob

        policy = self.recipe.policy
        numbers = {c.source: c.sft for c in self._collections() if c.sft}
        there = self._collections() if numbers else []
        asked = first_alone(lambda: {f"questions/{c.source}": self.questions(c) for c in there})
        configs = [self.recipe.sft, policy, self._hardware(), *([{"questions": numbers}] if numbers else [])]
        key = self.key("sft", {"studies": studies, "base": base_manifest, **asked}, *configs)
        SFTJob(
            run_folder=self.run,
            base=base,
            spec=self.recipe.sft,
            compute=self.recipe.compute,
            frozen=tuple(policy.freeze),
            template=self._template(),
            max_images=policy.max_images,
            max_tokens=policy.max_tokens,
            threads=self.recipe.threads,
            key=key,
            lora=policy.lora,
            recipe=self.recipe.digest(),
            questions=numbers,
            collections=[c.source for c in there],
        ).run()
        return need(self.run.policy(SFT))

    def _collections(self) -> list[CollectionSpec]:
        return self.recipe.questions.collections if self.recipe.questions else []

    def _base(self) -> tuple[Manifest, Path, Manifest]:
        """The studies, and the checkpoint that SFT begins with."""
        from chexalign.policy.hf import check_folder

        studies, policy = self.studies(), self.recipe.policy
        if policy.tiny is not None:
            from chexalign.demo.stages import pretrain

            return studies, *pretrain(self.recipe, self.run, studies)
        check_folder(Path(policy.model))
        return studies, Path(policy.model), _folder_manifest(Path(policy.model))

    def _adopt(self, base: Path, manifest: Manifest) -> Manifest:
        """Makes policy/sft a link to a checkpoint that is used as it is."""
        folder = self.run.policy(SFT)
        atomic.make_folder(folder.parent)
        if not folder.exists():
            folder.symlink_to(base.resolve(), target_is_directory=True)
        return manifest

    def _hardware(self) -> dict[str, Any]:
        """What of the hardware can change the last bits of a training."""
        return {"threads": self.recipe.threads, **(self.recipe.compute.numerics() if self.recipe.compute else {})}

    def _generation(self) -> dict[str, Any]:
        """What of the hardware can change what policies write."""
        return self.recipe.compute.generation() if self.recipe.compute else {}

    def _source(self, endpoint: EndpointSpec | None, name: str) -> PolicySource:
        """Where a policy that writes reports comes from: a server, or a checkpoint of this run."""
        from chexalign.policy.source import EndpointSource, LocalSource

        if endpoint is not None:
            self._may_go_to(endpoint)
            return EndpointSource(endpoint)
        compute = self.recipe.compute or ComputeSpec()
        trusted = self.recipe.policy.trust_remote_code
        return LocalSource(self.run.policy(name), compute.generate, compute.compile, trusted)

    def _template(self) -> Template:
        """The prompt template, speaking of no more images than the policy is shown."""
        policy = self.recipe.policy
        return get_template(policy.template).showing(policy.max_images)

    def _may_go_to(self, endpoint: EndpointSpec) -> None:
        for license_ in self._licenses():
            check_license(endpoint.url, license_, endpoint_is_mine=endpoint.endpoint_is_mine)

    @once
    def _licenses(self) -> list[str]:
        """The licenses of all studies, each once."""
        parts = range(self.studies().parts)
        return sorted({license_ for i in parts for license_ in self.run.studies.column(i, "license")})

    @once
    def _counts(self, split: str) -> list[int]:
        """How many studies of the split each part of the studies holds."""
        from chexalign.sample.stage import studies_per_part

        return studies_per_part(self.run, self.studies().parts, split)

    def _generators(self) -> int:
        """Processes that each hold a policy: one per GPU, or the recipe's `workers` where there is none."""
        import torch

        return torch.cuda.device_count() if torch.cuda.is_available() else self.recipe.workers

    def _spread(self) -> Spread | None:
        """The cluster that the recipe names, or None for processes of this machine."""
        if self.recipe.cluster is None:
            return None
        from chexalign.engines.cluster import RaySpread

        return RaySpread(self.recipe.cluster)


def question_source(spec: CollectionSpec) -> QuestionSource:
    """The source of a collection of questions, made with the recipe's options; nothing is read yet.

    Raises: UserError for an option that it does not take.
    """
    source: QuestionSource = make_source("questions", spec.source, _options(spec))
    return source


def question_items(source: QuestionSource, spec: CollectionSpec) -> tuple[list[QuestionItem], dict[str, int]]:
    """The items of the tasks that are wanted, and how many questions are left out for which reason.

    Raises: UserError when a task has no question, or the collection cannot be read.
    """
    items, dropped = source.items()
    if spec.tasks is None:
        return items, dropped
    there = {draft.task for item in items for draft in item.drafts}
    if lacking := [task for task in spec.tasks if task not in there]:
        raise UserError(
            f"questions: the collection {spec.source} has no task {lacking[0]!r}.",
            f"Its tasks are: {', '.join(sorted(there)) or 'none'}.",
            "Name some of these in the collection's tasks, or leave tasks out for all.",
        )
    of_them = [replace(item, drafts=tuple(d for d in item.drafts if d.task in spec.tasks)) for item in items]
    left_out = sum(len(item.drafts) for item in items) - sum(len(item.drafts) for item in of_them)
    return [item for item in of_them if item.drafts], dropped | ({"task_not_wanted": left_out} if left_out else {})


def _options(spec: CollectionSpec) -> dict[str, Any]:
    return {n: v for n, v in (("root", spec.root), ("images", spec.images)) if v is not None} | spec.options


def _plain_options(spec: CollectionSpec) -> dict[str, str]:
    return {name: str(value) for name, value in _options(spec).items()}


def need(folder: Path) -> Manifest:
    """The manifest of a checkpoint, or one of its content where this run did not make it."""
    manifest = Manifest.load(folder)
    return manifest if manifest is not None else _folder_manifest(folder)


def _folder_manifest(folder: Path) -> Manifest:
    """A manifest for a checkpoint that this run did not make; reads all of its weights."""
    content = ids.folder_digest(folder, ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt"))
    return Manifest("given", content, {}, {"folder": str(folder)}, 0, 0, {}, content, 0.0)
