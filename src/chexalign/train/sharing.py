"""Whether the completions of a prompt may share it under a model: asked of its first batch, by running it both ways."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from chexalign.errors import UserError
from chexalign.train.prefix import TokenLogps, disagreement, separate_logps, shared_logps, sharing_refused
from chexalign.train.settings import Precision

Route = Callable[[Any, dict[str, torch.Tensor], dict[str, torch.Tensor]], TokenLogps]

# Largest relative difference of a completion's log-prob between the shared and the separate path.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-5, "bf16": 2e-2}


@dataclass(frozen=True, slots=True)
class Sharing:
    """What the comparison found; `reason` says why each completion gets a forward of its own, None where it need not.

    `disagreement` is None where the two ways were not compared.
    """

    tolerance: float
    disagreement: float | None
    reason: str | None

    @property
    def route(self) -> Route:
        """The way to go."""
        return shared_logps if self.reason is None else separate_logps

    def to_dict(self) -> dict[str, Any]:
        """As it stands in manifests."""
        found = {"shared": self.reason is None, "tolerance": self.tolerance, "disagreement": self.disagreement}
        return found if self.reason is None else found | {"reason": self.reason}


@torch.no_grad()
def compare(
    model: Any,
    run: Callable[[Route], TokenLogps],
    precision: Precision,
    *,
    largest: Callable[[float], float] = lambda found: found,
) -> Sharing:
    """Compares what `run` makes of one batch by either way; `largest` takes the maximum over processes.

    Raises: UserError where the forward says that the user must mend something.
    """
    found, reason = math.inf, sharing_refused(model)
    if reason is None:
        try:
            found = disagreement(run(shared_logps), run(separate_logps))
        except UserError:
            raise
        except Exception as e:  # whatever a model's own code makes of a mask that it does not expect
            reason = f"its forward refuses shared prompts ({type(e).__name__}: {str(e).partition(chr(10))[0]})"
        found = largest(found)
    allowed = TOLERANCE[precision]
    if reason is not None:
        return Sharing(allowed, None, reason)
    if not found <= allowed:
        return Sharing(allowed, found, f"log-probs differ by {found:.1e} of their size, more than {allowed:.0e}")
    return Sharing(allowed, found, None)
