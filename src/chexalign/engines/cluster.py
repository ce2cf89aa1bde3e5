"""Parts made over many machines: a Ray Data pipeline from part indexes to what became of each."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from chexalign import atomic
from chexalign.engines.cluster_actor import Order, PartMaker, outcome_of
from chexalign.errors import UserError
from chexalign.recipe.engines import ClusterSpec
from chexalign.spread import Parts
from chexalign.store import PartInfo

_ROOM_SECONDS = 600.0  # a cluster may have to start a machine first, or to finish other work
_ROOM_SECONDS_HERE = 5.0
_CONNECT_SECONDS = 10.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else every stage warns that restarts need the driver, which is always so
}


@dataclass(frozen=True, slots=True)
class RaySpread:
    """Actors of a Ray cluster, each with a worker of its own; see docs/cluster.md for what survives what."""

    spec: ClusterSpec

    def check(self) -> None:
        """Raises: UserError when Ray is missing or the address is of a kind that cannot work; connects to nothing."""
        if importlib.util.find_spec("ray") is None:
            raise UserError(
                "The recipe names a cluster, and Ray is not installed.",
                "Work is spread over machines by Ray Data.",
                "Run `pip install 'chexalign[cluster]'` on every node, or take `cluster` out of the recipe.",
            )
        if "://" in self.spec.address:
            raise UserError(
                f"cluster.address is {self.spec.address}.",
                "Ray Data streams its results, which Ray Client (ray://) does not carry.",
                "Run the command on a node of the cluster, e.g. with `ray job submit`, and give `auto`.",
            )

    def __call__(self, parts: Parts[Any]) -> Iterator[PartInfo]:
        """Every missing part, made by whichever actor is free; a lost actor or node costs what it had in hand.

        Raises: UserError when the cluster cannot be reached or has no room for an actor, when a node does not see the
        folder of the table, when a part ends its process again and again; and whatever a worker raises.
        """
        self.check()
        os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
        with ExitStack() as stack:
            stack.enter_context(_connected(self.spec))
            token = stack.enter_context(_token(parts.table.folder))
            order = Order(_pickled(parts), token, Path.cwd())
            stack.enter_context(_explained(parts.table.folder.name))
            _wait_for_room(self.spec)
            yield from map(outcome_of, self._outcomes(parts.missing, order))

    def _outcomes(self, missing: Sequence[int], order: Order) -> Iterator[bytes]:
        """The outcome of each part as soon as it is known."""
        spec = self.spec
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Ray's settings warn of each other's names
            import ray.data

            indexes = ray.data.from_items([{"index": i} for i in missing], override_num_blocks=len(missing))
            # At least one: less room than all actors need, as after a node is lost, is no reason to wait.
            pool = ray.data.ActorPoolStrategy(min_size=1, max_size=spec.actors, initial_size=spec.actors)
            made = indexes.map_batches(
                PartMaker,
                fn_constructor_args=(order,),
                batch_size=1,
                compute=pool,
                num_cpus=spec.cpus_per_actor,
                num_gpus=spec.gpus_per_actor,
                runtime_env={"env_vars": _environment(spec)},
            )
            made.context.enable_progress_bars = False
            made.context.print_on_execution_start = False
            made.context.execution_no_progress_timeout_s = -1  # a part takes as long as it takes
            batches = iter(made.iter_batches(batch_size=None, prefetch_batches=0))
        for batch in batches:
            yield from batch["outcome"]


def _environment(spec: ClusterSpec) -> dict[str, str]:
    """What actors find in their environment before anything is imported there."""
    threads = {"OMP_NUM_THREADS": str(max(1, int(spec.cpus_per_actor)))}
    no_gpu = {} if spec.gpus_per_actor else {"CUDA_VISIBLE_DEVICES": ""}  # those are for actors that ask for them
    return threads | no_gpu


def _pickled(parts: Parts[Any]) -> bytes:
    """The parts without their indexes, which go to actors one by one; classes of a script go with their code."""
    from ray import cloudpickle

    data: bytes = cloudpickle.dumps(replace(parts, missing=()))
    return data


@contextmanager
def _connected(spec: ClusterSpec) -> Iterator[None]:
    """A connection to the cluster, or a cluster on this machine; one that was there before is used and left alone."""
    import ray

    if ray.is_initialized():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (FutureWarning, DeprecationWarning))
        if spec.address == "local":
            # Reached from this machine alone; the dashboard would be one more open port.
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
            )
        else:
            _join(spec.address)
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    """Connects to a running cluster.

    Raises: UserError when there is none, or one of another version.
    """
    import ray

    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as e:
        raise UserError(
            f"The Ray cluster at {address} cannot be joined: {_first_line(e)}",
            "Work is handed out from a node of the cluster, with the Ray and Python that the other nodes have.",
            "See `ray status` on this machine; start a node here with `ray start`, or set cluster.address=local.",
        ) from e


def _reach(address: str) -> None:
    """Raises: OSError when nothing listens there; Ray would try again for many minutes before it says so."""
    from ray._private.services import canonicalize_bootstrap_address  # also finds what `auto` means

    found = canonicalize_bootstrap_address(address)
    if found is not None:
        host, _, port = found.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()


@contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """A file in the folder by which actors know that they see it, and that their parts are still wanted."""
    token = folder.absolute() / f".cluster-{uuid4().hex}.tmp"
    atomic.write_text(token, "")
    try:
        yield token
    finally:
        with suppress(OSError):
            token.unlink(missing_ok=True)


def _wait_for_room(spec: ClusterSpec) -> None:
    """Returns when one actor would find room; the rest may come later, as room is made.

    Raises: UserError when there is none in good time; Ray Data would wait for ever, and say nothing.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    asked = {"CPU": spec.cpus_per_actor, "GPU": spec.gpus_per_actor}
    bundle = {name: n for name, n in asked.items() if n}
    if not bundle:
        return
    seconds = _ROOM_SECONDS_HERE if spec.address == "local" else _ROOM_SECONDS
    group = placement_group([bundle])
    found = group.wait(timeout_seconds=seconds)
    remove_placement_group(group)
    if not found:
        there = ray.cluster_resources()
        raise UserError(
            f"No node had {_amounts(asked)} free for an actor within {seconds:g} s.",
            f"The cluster has {_amounts({name: there.get(name, 0.0) for name in asked})} in all.",
            "Start nodes with more, wait for other work, or lower cluster.cpus_per_actor or cluster.gpus_per_actor.",
        )


def _amounts(resources: dict[str, float]) -> str:
    return " and ".join(f"{n:g} {name}" for name, n in resources.items())


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns Ray's own errors into a UserError; those of workers come as outcomes and pass."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as e:
        raise UserError(
            f"Ray gave up on {what}: {_first_line(e)}",
            "Finished parts are kept.",
            "Look into the logs of the session under /tmp/ray on the head node; run again to go on.",
        ) from e


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
