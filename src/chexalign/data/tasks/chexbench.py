"""CheXbench: the multiple-choice tasks of CheXagent's benchmark, as its data.json has them.

    ROOT/data.json                      or ROOT/evaluation_chexbench/data.json
    ROOT/...                            images, or under `images`, or under `roots` by data source

data.json holds a list of samples per task: data_source, slice, image_path (one path, several joined by a vertical bar,
or a list), question, option_0 to option_3 (null where there are fewer) and answer, the place of the right one. The
paths are those of the authors' machine: as many of their first folders are left out as it takes to find the file.
Source: Chen et al. 2024; evaluation_chexbench in github.com/Stanford-AIMI/CheXagent.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from chexalign.data.answers import plain
from chexalign.data.layout import find_file, inside, need_root
from chexalign.data.loose import field, one_line, read_json, whole
from chexalign.data.questions import TEST, Draft, Picture, QuestionItem
from chexalign.errors import UserError

PAPER_TASKS = ("view", "binary", "single_disease", "multi_disease", "vqa", "reasoning")

_TASKS = {
    "View Classification": "view",
    "Binary Disease Classification": "binary",
    "Single Disease Identification": "single_disease",
    "Multiple Disease Identification": "multi_disease",
    "Visual Question Answering": "vqa",
    "Fine-Grained Reasoning": "reasoning",
    "Temporal Classification": "temporal",
}
_WHO = (  # patient and study as the collections' own readers name them
    (re.compile(r"p(\d{8})/s(\d{8})"), "{0}", "s{1}"),
    (re.compile(r"(patient\d+)/(study\d+)"), "{0}", "{0}/{1}"),
    (re.compile(r"(CXR\d+)_"), "{0}", "{0}"),
    (re.compile(r"(xmlab\d+)"), "{0}", "{0}"),
)


class CheXbench:
    """CheXbench's multiple-choice questions about chest X-rays; all of them are for testing."""

    name = "chexbench"
    license = "that of each source; for MIMIC-CXR the PhysioNet Credentialed Health Data License 1.5.0"
    describe: ClassVar[dict[str, str]] = {
        "license": license,
        "needs": "`root` with data.json; the images of each of its sources (`roots`)",
        "cost": "reads data.json at once",
    }

    def __init__(
        self,
        *,
        root: Path | None = None,
        images: Path | None = None,
        roots: Mapping[str, Path | str] | None = None,
        tasks: Sequence[str] = PAPER_TASKS,
        parts: Literal["source", "slice"] = "source",
    ) -> None:
        """`roots` has the folder of images of a data_source, `parts` what accuracy is told for."""
        self.root, self.images, self.parts = root, images, parts
        self.roots = {source: Path(folder) for source, folder in (roots or {}).items()}
        self.tasks = tuple(tasks)
        if unknown := set(self.tasks) - set(_TASKS.values()):
            raise UserError(
                f"tasks names {sorted(unknown)[0]!r}.",
                f"The multiple-choice tasks of {self.name} are: {', '.join(_TASKS.values())}.",
                f"Leave it out for the six of the paper: {', '.join(PAPER_TASKS)}.",
            )

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """Samples by their images, in the order of the file; which files there are is looked up, none is opened."""
        root = need_root(self.root, self.name, "data.json")
        path = find_file([root, root / "evaluation_chexbench"], ["data.json"], self.name)
        bench = read_json(path, self.name)
        if not isinstance(bench, dict) or not bench.keys() & _TASKS.keys():
            raise UserError(
                f"{path} holds none of the tasks of {self.name}.",
                f"It must have lists of samples under names such as {next(iter(_TASKS))!r}.",
                "Give root the folder with the data.json of StanfordAIMI/chexbench.",
            )
        places = _Places(self.roots, self.images or root)
        dropped = Counter[str]()
        found: dict[tuple[Picture, ...], list[Draft]] = {}
        for title, samples in bench.items():
            task = _TASKS.get(title)
            if task not in self.tasks or not isinstance(samples, list):
                dropped["task_not_asked"] += len(samples) if isinstance(samples, list | dict) else 1
                continue
            for place, sample in enumerate(samples):
                pictures = places.of(sample)
                draft = self._draft(sample, task, place, n_images=len(pictures))
                if isinstance(draft, str) or not pictures:
                    dropped[draft if isinstance(draft, str) else "malformed_image_path"] += 1
                else:
                    found.setdefault(pictures, []).append(draft)
        return [_item(pictures, drafts) for pictures, drafts in found.items()], dict(+dropped)

    def _draft(self, sample: Any, task: str, place: int, *, n_images: int) -> Draft | str:
        """The question of a sample, or why there is none."""
        source, text = one_line(field(sample, "data_source")), one_line(field(sample, "question"))
        if source is None or text is None:
            return "malformed_row"
        options = _options(sample)
        if isinstance(options, str):
            return options
        right = whole(sample.get("answer"))
        if right is None or not 0 <= right < len(options):
            return "answer_out_of_range"
        cut = one_line(sample.get("slice")) if self.parts == "slice" else None
        return Draft(
            str(place),
            task=task,
            part=f"{source}/{cut}" if cut else source,
            answer_type="choose",
            text=text,
            options=options,
            answers=(options[right],),
            kind="compare" if task == "temporal" and n_images > 1 else "basic",
        )


def _options(sample: Mapping[str, Any]) -> tuple[str, ...] | str:
    """The options of a sample, or what is wrong with them."""
    cells = [one_line(sample.get(f"option_{k}")) for k in range(26)]
    options = [cell for cell in cells if cell is not None]
    if cells[: len(options)] != options:
        return "options_with_a_gap"  # it is unsaid whether the answer's place counts the empty one
    if len(options) < 2:
        return "too_few_options"
    return tuple(options) if len({plain(option) for option in options}) == len(options) else "duplicate_options"


def _item(pictures: tuple[Picture, ...], drafts: Sequence[Draft]) -> QuestionItem:
    first = PurePosixPath(pictures[0].path)
    patient = study = first.stem
    for pattern, patients, studies in _WHO:
        if known := pattern.search(first.as_posix()):
            patient, study = patients.format(*known.groups()), studies.format(*known.groups())
            break
    return QuestionItem(study, patient, TEST, pictures, tuple(drafts))


class _Places:
    """Finds images by the paths of another machine, each source under a folder of its own."""

    def __init__(self, roots: Mapping[str, Path], other: Path) -> None:
        self._roots, self._other = roots, other
        self._left_out: dict[str, int] = {}  # first folders that were left out for the source's last image

    def of(self, sample: Any) -> tuple[Picture, ...]:
        """The images of a sample; none where one of its paths is none, or leads out of its folder."""
        source, cell = one_line(field(sample, "data_source")) or "", field(sample, "image_path")
        names = cell.split("|") if isinstance(cell, str) else cell
        if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
            return ()
        folder = self._roots.get(source, self._other)
        found = [self._file(source, folder, name.strip().replace("\\", "/").lstrip("/")) for name in names]
        pictures = tuple(Picture(path, "unknown", top=str(folder)) for path in found if path)
        return pictures if len(pictures) == len(names) else ()

    def _file(self, source: str, folder: Path, name: str) -> str | None:
        parts = PurePosixPath(name).parts
        if ".." in parts or inside(folder, name) is None:
            return None
        for left_out in dict.fromkeys((self._left_out.get(source, 0), *range(len(parts)))):
            path = os.path.join(folder, *parts[left_out:])  # noqa: PTH118 (os.path.isfile below takes any name)
            if left_out < len(parts) and os.path.isfile(path):  # noqa: PTH113
                self._left_out[source] = left_out
                return path
        return str(folder / name)
