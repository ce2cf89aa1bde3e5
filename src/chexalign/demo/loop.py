"""A plain loop for the parts of the tiny policy before SFT; it can be killed at any time and ends in the same weights.

What is trained here is no policy yet: a tower with a head for labels, and a decoder that has seen no image; the trainer
of `chexalign.train` trains policies.
"""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.progress import bar
from chexalign.train.fit import FitLog, using_threads
from chexalign.train.order import training_order, warmup_cosine

STATE = "state.pt"
_SAVE_EVERY_SECONDS = 20.0

# Takes the indices of a batch and the step; returns the loss to minimize and numbers to log.
StepLoss = Callable[[Sequence[int], int], tuple[torch.Tensor, dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Optimization:
    """AdamW with linear warm-up and cosine decay to zero."""

    learning_rate: float
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0  # infinity: gradients are not clipped
    betas: tuple[float, float] = (0.9, 0.98)


def fit(
    module: torch.nn.Module,
    batches: Sequence[Sequence[int]],
    step_loss: StepLoss,
    optimization: Optimization,
    *,
    folder: Path,
    label: str,
    fingerprint: str = "",
    threads: int = 1,
) -> FitLog:
    """The log of training over `batches` in order; the trainable parameters of `module` are changed in place.

    The state is saved every 20 seconds to `folder`, and training goes on from there; the result does not depend on
    when it was saved or how often it was killed, as long as `step_loss` follows from its arguments. A state that is
    damaged, or that comes from other starting weights, batches or settings or has another `fingerprint`, is not taken
    up: training starts over.
    Raises: UserError when the loss or its gradient is not finite, naming the step.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=optimization.learning_rate, betas=optimization.betas, weight_decay=optimization.weight_decay
    )
    origin = ids.digest(_origin(module, batches, optimization), fingerprint)
    rows, seconds = _restore(folder, origin, module, optimizer)
    saved = started = time.perf_counter()
    with using_threads(threads), bar(len(batches), label, unit="step", done=len(rows)) as progress:
        for step in range(len(rows), len(batches)):
            for group in optimizer.param_groups:
                group["lr"] = optimization.learning_rate * warmup_cosine(step, len(batches), optimization.warmup_ratio)
            loss, numbers = step_loss(batches[step], step)
            _check_finite(loss, "loss", step, label)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(parameters, optimization.max_grad_norm)
            _check_finite(norm, "gradient norm", step, label)
            optimizer.step()
            rows.append({"step": step, "loss": loss.item(), "grad_norm": norm.item(), **numbers})
            progress.update()
            progress.set_postfix_str(f"loss {rows[-1]['loss']:.3f}", refresh=False)
            if time.perf_counter() - saved > _SAVE_EVERY_SECONDS:
                saved = time.perf_counter()
                _save(folder, origin, module, optimizer, rows, seconds + saved - started)
    seconds += time.perf_counter() - started
    return FitLog(rows, seconds)


def cut_batches(lengths: Sequence[int], *, epochs: int, batch_size: int, seed: int) -> list[list[int]]:
    """The indices of all epochs in batches of similar length, each epoch in its own order."""
    order = training_order(lengths, epochs=epochs, batch_size=batch_size, seed=seed)
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def forget(folder: Path) -> None:
    """Removes the saved state; call it once the result is safe."""
    (folder / STATE).unlink(missing_ok=True)


def _kept(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What training changes: trainable parameters, and buffers such as running means."""
    trainable = {n: p.detach() for n, p in module.named_parameters() if p.requires_grad}
    return trainable | dict(module.named_buffers())


def _origin(module: torch.nn.Module, batches: Sequence[Sequence[int]], optimization: Optimization) -> str:
    """A digest of what training starts from."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    weights = [(n, ids.bytes_sha256(_bytes(t))) for n, t in sorted(tensors.items())]
    return ids.digest(weights, [list(b) for b in batches], dataclasses.asdict(optimization))


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _seal(origin: str, data: bytes) -> bytes:
    """What stands before the data in the file: torch.load does not notice every damage."""
    return f"{ids.bytes_sha256(origin.encode() + data)}\n".encode()


def _save(
    folder: Path,
    origin: str,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: list[dict[str, float]],
    seconds: float,
) -> None:
    state = {"kept": _kept(module), "optimizer": optimizer.state_dict(), "rows": rows, "seconds": seconds}
    buffer = io.BytesIO()  # torch.save to a path tells of a full disk as a RuntimeError
    torch.save(state, buffer)
    data = buffer.getvalue()
    atomic.write_bytes(folder / STATE, _seal(origin, data) + data)


def _restore(
    folder: Path, origin: str, module: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[list[dict[str, float]], float]:
    path = folder / STATE
    seal, _, data = path.read_bytes().partition(b"\n") if path.is_file() else (b"", b"", b"")
    if seal + b"\n" != _seal(origin, data):
        return [], 0.0
    state: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True)
    with torch.no_grad():
        for name, value in _kept(module).items():
            value.copy_(state["kept"][name])
    optimizer.load_state_dict(state["optimizer"])
    return state["rows"], state["seconds"]


def _check_finite(value: torch.Tensor, name: str, step: int, label: str) -> None:
    if not torch.isfinite(value):
        raise UserError(
            f"The {name} of {label} is {value.item()} at step {step}.",
            "Training cannot go on from what is not a number.",
            "Lower the learning rate (train.learning_rate or sft.learning_rate) and run under another name.",
        )
