"""View classification on CheXpert or CheXpert Plus.

    ROOT/train.csv, ROOT/valid.csv  or  ROOT/df_chexpert_plus_240401.csv        (packed or not)
    ROOT/train/patient00001/study1/view1_frontal.jpg                            (or under `images`; PNG, DICOM)

The public test set of CheXpert has no table of views. Source: Irvin et al. 2019, Chambon et al. 2024.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar

from chexalign.data.layout import need_root, not_there, read_columns
from chexalign.data.questions import QuestionItem
from chexalign.data.tasks.chexpert_images import LICENSE, Named, image_file, image_folders, read_path
from chexalign.data.tasks.views import LATERAL, Viewed, ask, view_word

SOURCE = "chexpert-views"

_CHEXPERT = ("Path", "AP/PA")
_COLUMNS = {"train.csv": _CHEXPERT, "valid.csv": _CHEXPERT, "df_chexpert_plus_240401.csv": ("path_to_image", "ap_pa")}


class CheXpertViews:
    """Is this X-ray AP, PA or lateral? From the tables of CheXpert or CheXpert Plus."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": LICENSE,
        "needs": "train.csv and valid.csv, or df_chexpert_plus_240401.csv, and the images",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None) -> None:
        self.root, self.images = root, images

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """A question per image that is there and whose view is one of the three.

        Cost: a look for each file.
        """
        root = need_root(self.root, SOURCE, " or ".join(_COLUMNS))
        tables = [(path, names) for name, names in _COLUMNS.items() for path in _packed(root / name) if path.is_file()]
        if not tables:
            raise not_there(root, " nor ".join(_COLUMNS), SOURCE)
        folders = image_folders(self.images or root, SOURCE)
        images: dict[str, Viewed] = {}
        dropped = Counter[str]()
        for table, columns in tables:
            for path, projection in read_columns(table, columns, SOURCE):
                named = read_path(path)
                word = None if named is None else _word(named, projection)
                if named is None:
                    dropped["malformed_row"] += 1
                elif named.stem in images:
                    dropped["duplicate_row"] += 1
                elif word is None:
                    dropped["other_view" if projection.strip() else "no_view"] += 1
                elif (file := image_file(folders, named)) is None:
                    dropped["image_missing"] += 1
                else:
                    images[named.stem] = Viewed(named.stem, named.study, named.patient, named.split, file, word)
        items, left_out = ask(list(images.values()))
        return items, dict(+(dropped + left_out))


def _word(named: Named, projection: str) -> str | None:
    word = LATERAL if named.view == "lateral" else view_word(projection)
    return word if (word == LATERAL) == (named.view == "lateral") else None


def _packed(path: Path) -> list[Path]:
    return [path, path.with_name(f"{path.name}.gz")]
