"""Where a policy comes from: a record that is sent to worker processes, each of which opens the policy there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chexalign.engines.device import device_here

if TYPE_CHECKING:
    from chexalign.policy.base import Policy, Precision
    from chexalign.recipe.engines import EndpointSpec


class PolicySource(Protocol):
    """Opens a policy; it can be pickled."""

    def open(self) -> Policy:
        """The policy, ready to generate in this process."""
        ...


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A checkpoint folder, loaded in process: on the GPU whose turn it is, or on the CPU where there is none."""

    folder: Path
    precision: Precision = "fp32"
    compiled: bool = False
    trust_remote_code: bool = False

    def open(self) -> Policy:
        """Loads the checkpoint."""
        from chexalign.policy.hf import HFPolicy
        from chexalign.policy.remote import register_remote

        if self.trust_remote_code:
            register_remote(self.folder)
        return HFPolicy(self.folder, precision=self.precision, device=device_here(), compiled=self.compiled)


@dataclass(frozen=True, slots=True)
class EndpointSource:
    """A server; its client is opened once in a process."""

    spec: EndpointSpec

    def open(self) -> Policy:
        """A client of the server."""
        from chexalign.policy.endpoint import endpoint_policy

        return endpoint_policy(self.spec)
