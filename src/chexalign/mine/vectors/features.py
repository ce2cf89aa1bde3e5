"""Features of items as memory-mapped files, one per modality, each with an account of what made it and for what."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.mine.vectors.variants import MODALITIES
from chexalign.recipe.mine import Modality

Array = npt.NDArray[Any]
Kind = Literal["vector", "flags"]  # a direction, compared by its cosine; yes or no each, compared by how many differ

_DTYPES = {"vector": ("float32", "float16"), "flags": ("uint8",)}


@dataclass(frozen=True)
class Items:
    """Which items the rows of features are, in order: the id of each, and the patient that it is about."""

    ids: tuple[str, ...]
    patients: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.patients):
            raise ValueError("Items: one patient for each id")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digest(self) -> str:
        """A digest of ids and patients in order."""
        return ids.digest("items", self.ids, self.patients)

    def take(self, rows: Sequence[int]) -> Items:
        """Some of the items, in the order given."""
        return Items(tuple(self.ids[i] for i in rows), tuple(self.patients[i] for i in rows))


@dataclass(frozen=True)
class Features:
    """The features of one modality, [n, width]: in a file that is read as it is needed, or in memory.

    A vector of zeros has no direction: its cosine with anything is 0, so its distance to everything is 1.
    """

    modality: Modality
    kind: Kind
    model: str  # a digest of the content of what made them
    source: Path | Array
    dtype: str
    shape: tuple[int, int]
    content: str = ""  # of the values; empty in memory

    def block(self, start: int, stop: int) -> Array:
        """The rows from `start` up to `stop`; a file is mapped for these alone and let go with them."""
        if not isinstance(self.source, Path):
            return self.source[start:stop]
        stop, width = min(stop, self.shape[0]), self.shape[1]
        if stop <= start:
            return np.empty((0, width), self.dtype)
        offset = self._header + start * width * np.dtype(self.dtype).itemsize
        # Mode "c" never writes to the file; arrays that cannot be written to are refused by torch.
        return np.memmap(self.source, self.dtype, mode="c", offset=offset, shape=(stop - start, width))

    def rows(self, indices: npt.NDArray[np.intp]) -> Array:
        """A copy of the rows with these numbers, [len(indices), width]; quick where they are near each other."""
        first = int(indices.min(initial=self.shape[0]))
        last = int(indices.max(initial=first - 1))
        return np.take(np.asarray(self.block(first, last + 1)), indices - first, axis=0)

    @cached_property
    def _header(self) -> int:
        assert isinstance(self.source, Path)
        with self.source.open("rb") as f:
            np.lib.format.read_magic(f)
            np.lib.format.read_array_header_1_0(f)
            return f.tell()


@dataclass(frozen=True)
class FeatureSet:
    """Items and their features by modality."""

    items: Items
    features: Mapping[Modality, Features]

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: Sequence[int]) -> FeatureSet:
        """Some of the items with their features, read into memory."""
        index = np.asarray(rows, dtype=np.intp)
        return FeatureSet(
            self.items.take(rows),
            {
                name: replace(f, source=f.rows(index), shape=(len(index), f.shape[1]), content="")
                for name, f in self.features.items()
            },
        )


def write_features(
    folder: Path,
    modality: Modality,
    blocks: Iterable[Array],
    *,
    items: Items,
    model: str,
    kind: Kind = "vector",
    dtype: str | None = None,
) -> Features:
    """Writes the features of the items, which come in blocks of rows in their order; the account comes last.

    `dtype` is float32 (or float16, at half the size) for vectors and uint8 for flags. Memory holds one block.
    Raises: UserError for a value that is no number or overflows the dtype, and for flags that are not 0 or 1.
    """
    dtype = dtype or _DTYPES[kind][0]
    if dtype not in _DTYPES[kind]:
        raise UserError(
            f"The {modality} features are to be written as {dtype}.",
            f"Those of the kind {kind!r} are {' or '.join(_DTYPES[kind])}.",
            f"Write them as {_DTYPES[kind][0]}.",
        )
    path, digest = folder / f"{modality}.npy", hashlib.sha256()
    (folder / f"{modality}.json").unlink(missing_ok=True)
    shape = (0, 0)

    def write(temporary: Path) -> None:
        nonlocal shape
        rows = (_checked(block, modality, kind, dtype) for block in blocks)
        shape = _write_rows(temporary, rows, dtype, len(items), digest)

    atomic.write_file(path, write)
    features = Features(modality, kind, model, path, dtype, shape, digest.hexdigest()[:16])
    account = {"modality": modality, "kind": kind, "model": model, "items": items.digest, "dtype": dtype}
    atomic.write_json(folder / f"{modality}.json", {**account, "shape": list(shape), "content": features.content})
    return features


def open_features(
    folder: Path, items: Items, *, models: Mapping[Modality, str] | None = None, only: Iterable[Modality] = MODALITIES
) -> FeatureSet:
    """The features of a folder, for the items that they were made of; no value is read.

    `models` are the digests that the features of a modality must come from.
    Raises: UserError when the folder holds none, and when one is not whole or was made by another model or of other
    items.
    """
    found: dict[Modality, Features] = {}
    for modality in only:
        if (folder / f"{modality}.json").is_file():
            found[modality] = _open(folder, modality, items, (models or {}).get(modality))
    if not found:
        raise UserError(
            f"The folder {folder} holds no features.",
            "Items are compared by features, which are made once and kept with an account of what made them.",
            "Make the features of the gallery first.",
        )
    return FeatureSet(items, found)


def content_of(features: Features, *, block_rows: int = 65_536) -> str:
    """The digest of the values that are there now, which in a damaged file is not the `content` of its account."""
    digest = hashlib.sha256()
    for start in range(0, features.shape[0], block_rows):
        digest.update(np.ascontiguousarray(features.block(start, start + block_rows)).data)
    return digest.hexdigest()[:16]


def in_memory(
    modality: Modality, values: npt.ArrayLike, *, model: str, kind: Kind = "vector", dtype: str | None = None
) -> Features:
    """Features that are in no file, [n, width]; checked as `write_features` does."""
    dtype = dtype or _DTYPES[kind][0]
    array = _checked(np.asarray(values), modality, kind, dtype)
    return Features(modality, kind, model, array, dtype, (array.shape[0], array.shape[1]))


def _open(folder: Path, modality: Modality, items: Items, model: str | None) -> Features:
    path = folder / f"{modality}.npy"
    try:
        account = atomic.read_json(folder / f"{modality}.json")
        kind, dtype, shape = account["kind"], account["dtype"], tuple(map(int, account["shape"]))
        header = np.load(path, mmap_mode="r")
        whole = kind in get_args(Kind) and (str(header.dtype), header.shape) == (dtype, shape) and len(shape) == 2
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise UserError(
            f"The {modality} features in {folder} are not whole.",
            "File and account do not agree in type or size, or one of them is missing or damaged.",
            "Delete both files and make the features again.",
        )
    if account["items"] != items.digest or shape[0] != len(items):
        raise UserError(
            f"The {modality} features in {folder} are of other items.",
            f"They hold {shape[0]} rows, and {len(items)} items are asked about; ids and patients must agree in order.",
            "Make the features of these items, in a folder of their own.",
        )
    if model is not None and account["model"] != model:
        raise UserError(
            f"The {modality} features in {folder} come from another model.",
            f"Its digest is {account['model']}, and that of the model asked for is {model}.",
            "Make the features again with this model, or name the one that made them.",
        )
    return Features(modality, kind, account["model"], path, dtype, (shape[0], shape[1]), account["content"])


def _write_rows(path: Path, blocks: Iterator[Array], dtype: str, n: int, digest: Any) -> tuple[int, int]:
    """Writes an array file whose shape is known from the first block; returns its shape."""
    width = done = 0
    with path.open("wb") as f:
        for block in blocks:
            if done == 0:
                width = block.shape[1]
                header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (n, width)}
                np.lib.format.write_array_header_1_0(f, header)
            if block.shape[1] != width:
                raise ValueError(f"write_features: blocks of {width} and of {block.shape[1]} columns")
            data = np.ascontiguousarray(block).data
            f.write(data)
            digest.update(data)
            done += len(block)
    if done != n or n == 0:
        raise ValueError(f"write_features: {done} rows for {n} items")
    return n, width


def _checked(block: Array, modality: Modality, kind: Kind, dtype: str) -> Array:
    if block.ndim != 2:
        raise ValueError(f"features of {modality}: a block is [rows, width], not {block.shape}")
    if kind == "flags":
        if not np.isin(block, (0, 1)).all():
            raise UserError(
                f"The {modality} features hold a value other than 0 and 1.",
                "Flags are compared by how many of them differ.",
                "Make them of findings that are there or not, or write vectors.",
            )
        return block.astype(dtype)
    with np.errstate(over="ignore"):
        block = block.astype(dtype, copy=False)
    if not math.isfinite(float(np.abs(block).max(initial=0.0))):
        raise UserError(
            f"The {modality} features hold a value that is no finite number.",
            "Nothing can be near such an item or far from it; the model that made them computed NaN, or overflowed.",
            "Compute them in float32, and check the inputs of the rows.",
        )
    return block
