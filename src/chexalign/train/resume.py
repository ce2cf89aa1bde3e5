"""Checkpoints to resume from: one counts only once it is sealed, which happens after its last byte is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from chexalign import atomic, ids
from chexalign.errors import UserError

STEPS = "steps"  # the folder of a training that is not finished, beside its future checkpoint
SEAL = "seal.json"
WEIGHTS = "changed.safetensors"


def seal(checkpoint: Path, fingerprint: str) -> None:
    """Writes the digests of the checkpoint's files; call it when all processes have written theirs."""
    atomic.write_json(checkpoint / SEAL, {"fingerprint": fingerprint, "files": _digests(checkpoint)})


def last_sealed(steps: Path, fingerprint: str) -> Path | None:
    """The newest whole checkpoint of this very training; None where there is none.

    Costs a read of the checkpoint's files.
    """
    found = [(int(c.name.rpartition("-")[2]), c) for c in steps.glob("checkpoint-*") if (c / SEAL).is_file()]
    for _, checkpoint in sorted(found, reverse=True):
        try:
            sealed = atomic.read_json(checkpoint / SEAL)
        except ValueError:
            continue
        if sealed == {"fingerprint": fingerprint, "files": _digests(checkpoint)}:
            return checkpoint
    return None


def clear_others(steps: Path, keep: Path | None) -> None:
    """Removes every checkpoint but one: half-written ones, damaged ones, and those of another training."""
    for checkpoint in steps.glob("checkpoint-*"):
        if checkpoint != keep:
            shutil.rmtree(checkpoint, ignore_errors=True)


def forget(folder: Path) -> None:
    """Removes what could be resumed from; call it once the result is safe."""
    shutil.rmtree(folder / STEPS, ignore_errors=True)


def save_state(model: Any, checkpoint: Path, state_dict: dict[str, torch.Tensor] | None = None) -> None:
    """Writes the trainable parameters and the buffers; what is frozen is where it came from."""
    tensors = model.state_dict() if state_dict is None else state_dict
    atomic.make_folder(checkpoint)
    save_file({name: tensors[name].detach().cpu().contiguous() for name in _changing(model)}, checkpoint / WEIGHTS)


def load_state(model: Any, checkpoint: Path) -> None:
    """Puts back what `save_state` wrote.

    Raises: UserError when the names differ, since training would go on from other weights than it had reached.
    """
    tensors, names = load_file(checkpoint / WEIGHTS), _changing(model)
    strangers = sorted(set(names) ^ set(tensors))
    if strangers:
        raise UserError(
            f"The checkpoint {checkpoint} does not fit the model: {strangers[0]} is in one of them only.",
            "Training would go on from other weights than it had reached.",
            "Delete the checkpoint and run again: training starts over.",
        )
    model.load_state_dict(tensors, strict=False)


def _changing(model: Any) -> list[str]:
    """Names of what training can change: trainable parameters, and buffers such as running means."""
    parameters = dict(model.named_parameters())
    trainable = [name for name, p in parameters.items() if p.requires_grad]
    buffers = {name for name, _ in model.named_buffers()}
    return trainable + [name for name in model.state_dict() if name in buffers]


def _digests(checkpoint: Path) -> dict[str, str]:
    files = sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != SEAL)
    return {str(p.relative_to(checkpoint)): ids.file_sha256(p) for p in files}
