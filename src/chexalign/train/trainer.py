"""The trainer: transformers.Trainer over packed rows, so that its launchers, wrappers and callbacks all apply."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from chexalign.errors import UserError
from chexalign.train.objective import Batch, Objective, StepLoss, length_correlation
from chexalign.train.order import warmup_cosine
from chexalign.train.prefix import TokenLogps, shared_logps
from chexalign.train.resume import load_state, save_state, seal
from chexalign.train.rows import FILLER, Collator, OrderedRows, vision_inputs
from chexalign.train.settings import Precision
from chexalign.train.sharing import Route, compare

# At step 0 the policy is the reference policy: the loss must be what the formula says, up to rounding.
STEP_0_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "bf16": 5e-2}


class AlignTrainer(Trainer):
    """Minimizes an objective over rows in a fixed order.

    The rows are read once, in order, as a single epoch: several epochs are part of the order, so that where a training
    goes on after an interruption does not depend on how an epoch is shuffled.
    The mean runs over the whole global batch, however it is cut into processes and accumulation steps.
    """

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        *,
        rows: OrderedRows,
        collator: Collator,
        objective: Objective,
        warmup_ratio: float,
        fingerprint: str,
        starts_at_ref: bool,
        held_out: OrderedRows | None = None,
        callbacks: list[Any] | None = None,
    ) -> None:
        super().__init__(
            model, args, data_collator=collator, train_dataset=rows, eval_dataset=held_out, callbacks=callbacks
        )
        self.remove_callback(PrinterCallback)  # stdout is for data
        self.loss_is_scaled_for_ga = True
        self.model_accepts_loss_kwargs = False
        self.can_return_loss = True
        self.objective: Objective = objective
        self.fingerprint = fingerprint
        self.precision: Precision = "bf16" if args.bf16 else "fp32"
        self.self_check: dict[str, Any] | None = None
        self._warmup_ratio, self._starts_at_ref = warmup_ratio, starts_at_ref
        self._route: Route = shared_logps
        self._numbers: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._update: list[torch.Tensor] = []  # rows whose gradients the next update sums

    # What a batch is worth ------------------------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows: Any = train_dataset if train_dataset is not None else self.train_dataset
        return SequentialSampler(rows)

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> torch.Tensor | None:
        if not batch_samples:
            return None
        items = torch.stack([self.objective.items(batch) for batch in batch_samples]).sum()
        return self._gather(items.to(device)[None]).sum()

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This batch's share of the mean loss over the global batch, times the number of processes (DDP averages)."""
        vision = vision_inputs(inputs)
        if self.self_check is None:
            self._check_route(model, inputs, vision)
        if model.training:
            _keep_frozen_parts_in_eval_mode(model)
        logps = self._route(model, inputs, vision)
        step = self.objective(logps, inputs, self._gather)
        items = self.objective.items(inputs)
        self._check_finite(step.total.detach(), inputs)
        if not model.training:
            loss = step.total / items.clamp_min(1.0)  # a batch of fillers alone counts for nothing
        else:
            self._check_step_0(step, items, logps, inputs)
            self._update.append(inputs["row"])
            for name, values in step.numbers.items():
                self._numbers[name].append(values.detach().float().mean())
            self._numbers["tokens"].append((inputs["segments"] >= 0).sum().float())
            processes = self.accelerator.num_processes
            loss = step.total * processes / (items * processes if num_items_in_batch is None else num_items_in_batch)
        return (loss, {}) if return_outputs else loss

    @torch.no_grad()
    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """The mean loss over the held-out rows, in the unit of the objective, each counted once.

        The loop of transformers.Trainer counts a short last batch like a whole one.
        """
        model, sums = self.model_wrapped, torch.zeros(2, device=self.args.device)
        model.eval()
        for batch in self.get_eval_dataloader(eval_dataset):
            inputs = self._prepare_inputs(batch)
            with self.compute_loss_context_manager():
                loss = self.compute_loss(model, inputs)
            items = self.objective.items(inputs)
            sums += torch.stack([loss * items, items])
        model.train()
        total, items = self._gather(sums[None]).sum(0).tolist()
        metrics = {f"{metric_key_prefix}_loss": total / items}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _gather(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.accelerator.num_processes == 1:
            return tensor
        gathered: torch.Tensor = self.accelerator.gather(tensor.contiguous())
        return gathered

    # Checks ---------------------------------------------------------------------------------------------------------

    def _check_route(self, model: Any, inputs: Batch, vision: dict[str, torch.Tensor]) -> None:
        """Compares the shared with the separate path on the first batch, and takes the separate one if they differ."""
        training = model.training
        model.eval()

        def run(route: Route) -> TokenLogps:
            with self.compute_loss_context_manager():
                return route(model, inputs, vision)

        def largest(found: float) -> float:
            return float(self._gather(torch.tensor([found], device=self.args.device)).max())

        sharing = compare(model, run, self.precision, largest=largest)
        model.train(training)
        self.self_check, self._route = sharing.to_dict(), sharing.route
        if sharing.reason is not None:
            self._warn(f"prefix sharing is off for this model, training is slower: {sharing.reason}")

    def _check_step_0(self, step: StepLoss, items: torch.Tensor, logps: TokenLogps, inputs: Batch) -> None:
        """The first loss must be that of a policy which equals its reference, and so must each of its log-probs.

        The loss alone does not tell: most compare two log-ratios, in which an equal error on both sides cancels.
        """
        if not self._starts_at_ref or self.state.global_step > 0 or (inputs["row"] == FILLER).any():
            return
        self._starts_at_ref = False
        tolerance = STEP_0_TOLERANCE[self.precision]
        value = (step.total.detach() / items).item()
        if math.isfinite(step.at_step_0) and abs(value - step.at_step_0) > tolerance:
            raise _stale(
                f"The first loss is {value:.5f}; for a policy that equals its reference it is {step.at_step_0:.5f}."
            )
        if "ref" in inputs and (off := _difference(logps.sums().detach(), inputs["ref"])) > tolerance:
            raise _stale(f"The first log-probs differ from those of the reference policy by {off:.1e} of their size.")

    def _check_finite(self, total: torch.Tensor, inputs: Batch) -> None:
        if not torch.isfinite(total):
            raise self._not_finite("loss", total, [inputs["row"]])

    def _clip_grad_norm(self, model: Any) -> Any:
        norm, rows = super()._clip_grad_norm(model), self._update
        self._update = []
        value = torch.as_tensor(norm)
        if not torch.isfinite(value):
            raise self._not_finite("gradient norm", value, rows)
        return norm

    def _not_finite(self, what: str, value: torch.Tensor, rows: list[torch.Tensor]) -> UserError:
        model: Any = self.model
        data: Any = self.train_dataset if model.training else self.eval_dataset
        names = ", ".join(data.rows[i].example.id for i in torch.cat(rows).tolist() if i != FILLER)
        return UserError(
            f"The {what} is {value.item()} at step {self.state.global_step}, in the batch of {names}.",
            "Training cannot go on from what is not a number; the last good checkpoint is kept.",
            "Lower the learning rate and run under another name, or leave those rows out.",
        )

    def _warn(self, message: str) -> None:
        if self.is_world_process_zero():
            print(f"warning: {message}", file=sys.stderr)

    # Schedule, log, checkpoints -------------------------------------------------------------------------------------

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Linear warm-up, then cosine to zero."""
        if self.lr_scheduler is None:
            steps: Any = optimizer or self.optimizer
            self.lr_scheduler = LambdaLR(
                steps,
                lambda step: warmup_cosine(min(step, num_training_steps), num_training_steps, self._warmup_ratio),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the means of the numbers since the last log, over batches and processes."""
        if "loss" in logs and self._numbers:
            logs |= self._take_numbers()
        super().log(logs, start_time)

    def _take_numbers(self) -> dict[str, float]:
        """Means since the last log over batches and processes, tokens summed; one message for all of them."""
        names = sorted(self._numbers)
        local = torch.stack([torch.stack(self._numbers[n]).mean() * self._weight_of(n) for n in names])
        means = self._gather(local[None]).mean(0).tolist()
        self._numbers.clear()
        found = dict(zip(names, means, strict=True))
        moments = {name: found.pop(name) for name in names if name.startswith("_")}
        if moments:
            found["length_correlation"] = length_correlation(moments)
        return found

    def _weight_of(self, name: str) -> int:
        """Tokens are counted over all batches and processes; everything else is a mean."""
        return len(self._numbers[name]) * self.accelerator.num_processes if name == "tokens" else 1

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            seal(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}", self.fingerprint)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        """Writes what training changes, by the names of the model in memory.

        `save_pretrained` writes some families under older names, which a resumed transformers.Trainer does not find:
        it warns, keeps the weights that it started from, and goes on with the old optimizer.
        """
        folder = Path(str(output_dir or self.args.output_dir))
        save_state(self.accelerator.unwrap_model(self.model), folder, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_state(self.accelerator.unwrap_model(model or self.model), Path(resume_from_checkpoint))


def _difference(found: torch.Tensor, ref: torch.Tensor) -> float:
    """Mean difference of log-probs, relative to the reference's where that is larger than 1 nat."""
    return float(((found - ref).abs() / ref.abs().clamp_min(1.0)).mean())


def _stale(what: str) -> UserError:
    return UserError(
        what,
        "The reference log-probs belong to other weights, another template or tokenizer, or dropout is on.",
        "Delete the run's ref_logps folder and .cache/ref_logps beside the run, and run again.",
    )


def _keep_frozen_parts_in_eval_mode(model: Any) -> None:
    """A frozen module keeps its running means, and drops nothing out; a batch norm keeps them even where it learns.

    By a batch's own statistics a row would depend on its neighbors, and the policy would not start as its reference.
    """
    for module in model.modules():
        own = list(module.parameters())
        frozen = bool(own) and not any(p.requires_grad for p in own)
        if frozen or isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
