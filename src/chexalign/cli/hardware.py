"""What can be known of a recipe's work on this machine before anything is spent."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from chexalign.errors import UserError
from chexalign.privacy import ONLINE, is_online

if TYPE_CHECKING:
    from chexalign.recipe import Recipe

_PACKAGE_OF = {"comet_ml": "comet_ml", "azure_ml": "azureml", "dvclive": "dvclive"}  # where it is not the name itself
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio", "swanlab", "clearml", "codecarbon", *_PACKAGE_OF)


def check_hardware(recipe: Recipe) -> None:
    """Checks adapters, trackers, batch sizes, the server's client and the cluster's settings.

    Raises: UserError for a package that is missing, 4-bit weights without a CUDA device, a tracker that transformers
    does not know, and a global batch that the launched processes cannot share.
    """
    from chexalign.train.settings import no_peft

    lora, compute = recipe.policy.lora, recipe.compute
    if lora is not None and importlib.util.find_spec("peft") is None:
        raise no_peft()
    if lora is not None and lora.quantize is not None:
        from chexalign.train.lora import need_nf4

        need_nf4()
    for tracker in compute.trackers if compute else ():
        _check_tracker(tracker)
    _check_batches(recipe)
    if recipe.sample.endpoint is not None and importlib.util.find_spec("openai") is None:
        from chexalign.engines.endpoint import without_library

        raise without_library()
    if recipe.cluster is not None:
        from chexalign.engines.cluster import RaySpread

        RaySpread(recipe.cluster).check()


def _check_tracker(name: str) -> None:
    if name not in TRACKERS:
        raise UserError(
            f"compute.trackers names {name!r}.",
            f"transformers sends numbers to: {', '.join(TRACKERS)}.",
            "Name some of these, or leave trackers out: training.json of a checkpoint has every number.",
        )
    if name == "codecarbon" and not is_online():
        raise UserError(
            "compute.trackers names codecarbon.",
            "It asks a server elsewhere where this machine stands, and cannot be kept from it.",
            f"Leave it out, or set {ONLINE}=1 to let libraries use the network.",
        )
    package = _PACKAGE_OF.get(name, name)
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"compute.trackers names {name}, and the package {package} is not installed.",
            "Training would stop at its first step.",
            f"Run `pip install {package}`, or leave it out: training.json of a checkpoint has every number.",
        )


def _check_batches(recipe: Recipe) -> None:
    """Whether every training's batch can be cut into the shares of the processes that were launched."""
    from chexalign.train.launch import n_processes
    from chexalign.train.settings import share

    size = recipe.compute.per_device_batch if recipe.compute else None
    batches = [arm.train.global_batch for arm in recipe.learners().values()]
    if recipe.sft is not None:
        batches.append(recipe.sft.global_batch)
    for batch in batches:
        share(batch, n_processes(), size)
