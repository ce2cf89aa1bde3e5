"""What is found out once in a run, however many stages ask for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar


class Knows(Protocol):
    """Keeps what its methods found."""

    @property
    def _known(self) -> dict[str, Any]: ...


S = TypeVar("S", bound=Knows)
P = ParamSpec("P")
T = TypeVar("T")


def once(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Stages lean on each other; each is checked, and what is read of all parts is read, once in a Workflow's life."""

    @functools.wraps(method)
    def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        call = repr((method.__name__, args, kwargs))
        if call not in self._known:
            self._known[call] = method(self, *args, **kwargs)
        found: T = self._known[call]
        return found

    return wrapper
