"""A recipe carried out: which stages there are, what each reads, and in which order they run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from chexalign import atomic, ids
from chexalign.data.base import Dataset
from chexalign.data.normalize import Normalized
from chexalign.data.prepare import StudiesWorker
from chexalign.data.templates import Template, get_template
from chexalign.errors import UserError
from chexalign.judges import stage as judging
from chexalign.judges.budget import Budget, with_budget
from chexalign.judges.panel import PanelWorker
from chexalign.policy.base import Decoding
from chexalign.privacy import check_license
from chexalign.recipe import Arm, ComputeSpec, EndpointSpec, JudgeSpec, Recipe, SampleSpec, folder_name
from chexalign.registry import registry
from chexalign.run_folder import SFT, SHUFFLED, RunFolder
from chexalign.spread import PartWorker, Spread, Threads
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest, Table
from chexalign.types import Estimate, Score

if TYPE_CHECKING:
    from chexalign.policy.source import PolicySource

_STUDIES_PER_PART = 100
_SCORES_PER_PART = 400


def make_dataset(recipe: Recipe) -> Dataset:
    """The dataset that the recipe names, made with the options of `data` that it takes; nothing is read yet.

    Raises: UserError for an option that is set and that the dataset does not take.
    """
    data, make = recipe.data, registry("datasets").get(recipe.data.source)
    takes = inspect.signature(make).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    options: dict[str, Any] = {}
    for name, field_ in type(data).model_fields.items():
        value = getattr(data, name)
        if takes_all or (name in takes and (value is not None or takes[name].default is inspect.Parameter.empty)):
            options[name] = tuple(value) if isinstance(value, list) else value
        elif name not in takes and name not in ("source", "normalizer") and value != field_.get_default():
            raise UserError(
                f"data.{name} is set, and data.source is {data.source}.",
                f"That dataset does not take it; it takes: {', '.join(sorted(takes))}.",
                f"Remove data.{name}, or name another dataset.",
            )
    for name in ("source", "normalizer"):
        options.pop(name, None)
    dataset: Dataset = make(**options)
    return dataset if data.normalizer == "raw" else Normalized(dataset, data.normalizer)


def parts_under_way(spec: SampleSpec) -> int:
    """Parts that are asked of a server at the same time: while one ends, the requests of others fill its room."""
    assert spec.endpoint is not None
    return max(4, 2 * spec.endpoint.concurrency // spec.part_size + 1)


P = ParamSpec("P")
T = TypeVar("T")


def _once(method: Callable[Concatenate[Workflow, P], T]) -> Callable[Concatenate[Workflow, P], T]:
    """Stages lean on each other; each is checked, and what is read of all parts is read, once in a Workflow's life."""

    @functools.wraps(method)
    def wrapper(self: Workflow, /, *args: P.args, **kwargs: P.kwargs) -> T:
        call = repr((method.__name__, args, kwargs))
        if call not in self._known:
            self._known[call] = method(self, *args, **kwargs)
        found: T = self._known[call]
        return found

    return wrapper


@dataclass(frozen=True, slots=True)
class Workflow:
    """The stages of one run; each method does what is missing of one stage and returns its manifest."""

    recipe: Recipe
    run: RunFolder
    _known: dict[str, Any] = field(default_factory=dict)

    def key(self, stage: str, inputs: dict[str, Manifest], *configs: Any) -> StageKey:
        """The key of a stage that reads these inputs and these blocks of the recipe."""
        config = {"blocks": [c.model_dump(mode="json") if hasattr(c, "model_dump") else c for c in configs]}
        return StageKey(stage, {name: m.content for name, m in inputs.items()}, config, self.recipe.seed)

    @_once
    def studies(self) -> Manifest:
        """Study rows of all splits, and the images that the dataset makes."""
        table, dataset = self.run.studies, make_dataset(self.recipe)
        key = StageKey("studies", {}, {"blocks": [self.recipe.data.model_dump(mode="json")]}, 0)
        items, dropped = dataset.items()
        worker = StudiesWorker(dataset, items, self.run.images, part_size=_STUDIES_PER_PART)
        del items  # the worker has them packed
        atomic.make_folder(self.run.images)
        return run_parts(
            table, worker, key=key, n_parts=worker.n_parts, workers=self.recipe.workers, dropped_before=dropped
        )

    @_once
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
        key = self.key("sft", {"studies": studies, "base": base_manifest}, self.recipe.sft, policy, self._hardware())
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
        ).run()
        return _need(self.run.policy(SFT))

    @_once
    def prompts(self) -> Manifest:
        """The prompts of the split that candidates are drawn for."""
        from chexalign.sample.stage import PromptsWorker

        studies, spec = self.studies(), self.recipe.sample
        template = self.recipe.policy.template
        config = {"split": spec.split, "template": template, "part_size": spec.part_size}
        worker = PromptsWorker(self.run, spec.split, self._template(), spec.part_size, self._counts(spec.split))
        key = self.key("prompts", {"studies": studies}, config)
        return run_parts(self.run.prompts, worker, key=key, n_parts=worker.n_parts)

    @_once
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

    @_once
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
        worker = judging.ScoresWorker(judge, texts, _SCORES_PER_PART, judging.score_store_folder(self.run), budget)
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

    @_once
    def pairs(self, name: str, arm: Arm) -> Manifest:
        """The preference pairs of an arm, or its verdicts: a view over its judge's scores.

        Raises: UserError when the judge does not pass a probe that the recipe requires.
        """
        from chexalign.judges.probes import require_passed_on
        from chexalign.pairs.stage import PairsWorker, VerdictsWorker, gives_verdicts, table_of_arm

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

    @_once
    def ref_logps(self) -> Manifest:
        """Reference log-probs of every candidate that some arm learns from."""
        from chexalign.losses.make import make_loss
        from chexalign.pairs.stage import gives_verdicts
        from chexalign.train.lessons import lessons_of
        from chexalign.train.ref_logps import RefLogpsWorker, ref_table, requests_of, with_sources

        losses = {name: make_loss(arm.train) for name, arm in self.recipe.resolved_arms().items()}
        arms = {name: arm for name, arm in self.recipe.resolved_arms().items() if losses[name].needs_ref}
        sft = self.sft()
        inputs = {f"pairs/{name}": self.pairs(name, arm) for name, arm in arms.items()} | {"sft": sft}
        used: set[tuple[str, str]] = set()
        for name in arms:
            verdicts = gives_verdicts(arms[name])
            used |= lessons_of(self.run, name, losses[name], verdicts=verdicts, seed=self.recipe.seed).used()
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

    @_once
    def train(self, name: str, arm: Arm) -> Manifest:
        """The policy of an arm; of several processes all train together."""
        from chexalign.pairs.stage import gives_verdicts
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
            verdicts=gives_verdicts(arm),
        ).run()
        return _need(self.run.policy(name))

    @_once
    def predictions(self, name: str) -> Manifest:
        """Greedy reports of a policy (an arm, `sft`, or `sft_shuffled`) for the evaluated split."""
        from chexalign.evaluate.predict import PredictionsWorker

        checkpoint = SFT if name == SHUFFLED else name
        policy = self.sft() if checkpoint == SFT else self.train(name, self.recipe.resolved_arms()[name])
        studies = self.studies()
        spec = self.recipe.evaluate
        n = sum(self._counts(spec.split))
        worker = PredictionsWorker(
            run=self.run,
            name=name,
            source=self._source(None, checkpoint),
            split=spec.split,
            template=self._template(),
            decoding=Decoding(spec.max_new_tokens),
            part_size=spec.batch_size,
            max_images=self.recipe.policy.max_images,
            shuffled=name == SHUFFLED,
        )
        config = {
            "name": name,
            "split": spec.split,
            "tokens": spec.max_new_tokens,
            "batch": spec.batch_size,
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

    @_once
    def metric(self, judge: JudgeSpec, name: str) -> Manifest:
        """A judge's scores of a policy's predictions, all of them whatever its budget."""
        judge = judge.unlimited
        predictions, folder = self.predictions(name), folder_name(judge)
        key = self.key("metric", {"predictions": predictions}, judge.substance(), self._about(judge).substance())
        texts = judging.PredictionTexts(self.run, name)
        worker = judging.ScoresWorker(judge, texts, _SCORES_PER_PART, judging.score_store_folder(self.run))
        return self._scored(self.run.metric(folder, name), worker, key, predictions.rows, f"{folder} of {name}")

    def estimates(self) -> list[Estimate]:
        """Every number of the run with its interval, after all that it rests on."""
        from chexalign.evaluate.stage import write_estimates

        for name, arm in self.recipe.resolved_arms().items():
            self.train(name, arm)
        spec, judges = self.recipe.evaluate, self.recipe.measured()
        metrics = {
            f"{folder_name(judge)}/{name}": self.metric(judge, name) for name in self.policies for judge in judges
        }
        key = self.key("estimates", metrics, spec)
        names = [folder_name(judge) for judge in judges]
        own = {name: folder_name(arm.judge) for name, arm in self.recipe.resolved_arms().items()}
        return write_estimates(self.run, key, spec=spec, policies=self.policies, judges=names, learned_from=own)

    @property
    def policies(self) -> Sequence[str]:
        """What is evaluated, in order: the SFT policy, its control, and every arm."""
        return [SFT, SHUFFLED, *self.recipe.resolved_arms()]

    def _base(self) -> tuple[Manifest, Path, Manifest]:
        """The studies, and the checkpoint that SFT begins with."""
        from chexalign.policy.hf import check_folder

        studies, policy = self.studies(), self.recipe.policy
        if policy.tiny is not None:
            from chexalign.demo.stages import pretrain

            return studies, *pretrain(self.recipe, self.run, studies)
        check_folder(Path(policy.model))
        return studies, Path(policy.model), _folder_manifest(Path(policy.model))

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

    def _scored(
        self, table: Table[Score], worker: judging.ScoresWorker, key: StageKey, rows: int, label: str
    ) -> Manifest:
        about, n_parts = self._about(worker.judge), -(-rows // _SCORES_PER_PART)
        workers = self._generators() if about.fills_gpu else self.recipe.workers
        # Servers are asked by one process, so that they see as many requests at a time as the recipe says.
        served = Threads(about.parts_under_way, worker.close) if about.endpoints else None
        spread = served or self._spread()
        judging.tell_why_again(table, key)
        manifest = run_parts(table, worker, key=key, n_parts=n_parts, workers=workers, spread=spread, label=label)
        return judging.with_calls(table, manifest)

    @_once
    def _about(self, judge: JudgeSpec) -> judging.About:
        """What is to be known of a judge, once it is sure that texts may go where it sends them."""
        about = judging.about_judge(judge)
        for endpoint in about.endpoints:
            self._may_go_to(endpoint)
        return about

    def _may_go_to(self, endpoint: EndpointSpec) -> None:
        for license_ in self._licenses():
            check_license(endpoint.url, license_, endpoint_is_mine=endpoint.endpoint_is_mine)

    @_once
    def _licenses(self) -> list[str]:
        """The licenses of all studies, each once."""
        parts = range(self.studies().parts)
        return sorted({license_ for i in parts for license_ in self.run.studies.column(i, "license")})

    @_once
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

    def _adopt(self, base: Path, manifest: Manifest) -> Manifest:
        """Makes policy/sft a link to a checkpoint that is used as it is."""
        folder = self.run.policy(SFT)
        atomic.make_folder(folder.parent)
        if not folder.exists():
            folder.symlink_to(base.resolve(), target_is_directory=True)
        return manifest


def _need(folder: Path) -> Manifest:
    manifest = Manifest.load(folder)
    return manifest if manifest is not None else _folder_manifest(folder)


def _folder_manifest(folder: Path) -> Manifest:
    """A manifest for a checkpoint that this run did not make; reads all of its weights."""
    content = ids.folder_digest(folder, ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt"))
    return Manifest("given", content, {}, {"folder": str(folder)}, 0, 0, {}, content, 0.0)
