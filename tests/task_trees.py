"""Small collections with labels and boxes, in the layouts and with the odd values of their owners."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chexalign.data.tasks.diseases import LABELS
from tests.trees import METADATA, mimic_exam, openi_xml, write_csv, write_image

RSNA = ("patientId", "x", "y", "width", "height", "Target")
SIIM = ("ImageId", " EncodedPixels")
NIH_BOXES = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", "")
NIH_ENTRIES = (
    *("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position"),
    *("OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]", ""),
)
VINDR_TRAIN = ("image_id", "rad_id", "class_name", "x_min", "y_min", "x_max", "y_max")
VINDR_TEST = ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max")
KAGGLE = ("image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max")
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding")
MS_CXR = (
    *("category_name", "label_text", "path", "dicom_id", "x", "y", "w", "h", "image_width", "image_height"),
    "split",
)
CHEXPERT = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding", *LABELS)


def rsna_rows(images: int = 40) -> list[list[Any]]:
    """Every fourth image shows pneumonia, every eighth in two boxes, some beyond the image."""
    rows: list[list[Any]] = []
    for n in range(images):
        if n % 4:
            rows.append([f"img{n}", "", "", "", "", 0])
        else:
            rows.append([f"img{n}", 264.0, 152.0, 213.0, 379.0, 1])
            rows += [[f"img{n}", 562.0, 152.0, 600.0, 453.0, 1]] * (n % 8 == 0)
    return rows


def rsna_tree(root: Path, *, images: int = 40, mapping: bool = False) -> Path:
    """RSNA, its images as PNG; with `mapping`, two images are one person's."""
    rows = rsna_rows(images)
    write_csv(root / "stage_2_train_labels.csv", RSNA, rows)
    words = {0: ("Normal", "No Lung Opacity / Not Normal"), 1: ("Lung Opacity",)}
    classes = [[row[0], words[row[5]][n % len(words[row[5]])]] for n, row in enumerate(rows)]
    write_csv(root / "stage_2_detailed_class_info.csv", ("patientId", "class"), classes)
    for n in range(images):
        write_image(root / f"stage_2_train_images/img{n}.png", seed=n)
    if mapping:
        names = [{"subset_img_id": f"img{n}", "img_id": f"{n // 2:08d}_{n % 2:03d}.png"} for n in range(images)]
        (root / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(names))
    return root


def siim_tree(root: Path, *, images: int = 40, table: str = "train-rle.csv") -> Path:
    """SIIM-ACR: every fourth image has a mask, every eighth has two, on rows of their own."""
    rows: list[list[Any]] = []
    for n in range(images):
        if n % 4:
            rows.append([f"1.2.{n}", " -1" if n % 2 else "-1"])
        else:
            rows.append([f"1.2.{n}", "1026 2 1022 3"])
            rows += [[f"1.2.{n}", f"{1024 * 900 + 5} 10"]] * (n % 8 == 0)
        write_image(root / f"dicom-images-train/1.3.{n}/1.4.{n}/1.2.{n}.png", seed=n)
    write_csv(root / table, SIIM, rows)
    return root


def nih_tree(root: Path, *, images: int = 64, entries: bool = True) -> Path:
    """NIH boxes: findings in turn, two images to a patient, some with a second label that nobody boxed."""
    labels = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltrate", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
    boxes, table = [], []
    for n in range(images):
        name, label = f"{n // 2:08d}_{n % 2:03d}.png", labels[n % len(labels)]
        boxes.append([name, label, 225.0847, 547.0192, 86.7797, 600.5, "", "", ""])
        found = label.replace("Infiltrate", "Infiltration") + "|Hernia" * (n % 5 == 0)
        table.append([name, found, 0, n // 2, 57, "M", "PA", 2682, 2749, 0.143, 0.143, ""])
        write_image(root / f"images_{n % 3 + 1:03d}/images/{name}", seed=n)
    write_csv(root / "BBox_List_2017.csv", NIH_BOXES, boxes)
    if entries:
        write_csv(root / "Data_Entry_2017.csv", NIH_ENTRIES, table)
    return root


_VINDR = ("Cardiomegaly", "Pleural effusion", "Pneumothorax", "Nodule/Mass")


def vindr_reads(image: int, label: str) -> list[tuple[str, str, list[Any]]]:
    """(image, label, reader and bounds) of three readers: two agree, one sees nothing; one box is drawn twice."""
    name = f"{image:032x}"
    first = ["R9", 4.0, 5.0, 14.0, 15.0]
    second, nothing = ["R10", 5.0, 5.0, 14.0, 16.0], ["R8", "", "", "", ""]
    return [(name, label, first), (name, label, second), (name, label, first), (name, "No finding", nothing)]


def vindr_tree(root: Path, *, images: int = 64, layout: str = "physionet") -> Path:
    """VinDr-CXR: findings in turn, every eighth image healthy; PhysioNet's layout or Kaggle's."""
    reads: list[tuple[str, str, list[Any]]] = []
    for n in range(images):
        if n % 8 == 7:
            reads += [(f"{n:032x}", "No finding", [reader, "", "", "", ""]) for reader in ("R8", "R9", "R10")]
        else:
            reads += vindr_reads(n, _VINDR[n % len(_VINDR)])
        write_image(root / f"train/{n:032x}.png", seed=n)
    if layout == "kaggle":
        write_csv(root / "train.csv", KAGGLE, [[name, label, 0, *cells] for name, label, cells in reads])
        return root
    rows = [[name, cells[0], label, *cells[1:]] for name, label, cells in reads]
    write_csv(root / "annotations/annotations_train.csv", VINDR_TRAIN, rows)
    readers = sorted({(name, cells[0]) for name, _, cells in reads})
    globals_ = [[name, reader, 0, 0, int(name.endswith("0")), 0, 0, 0] for name, reader in readers]
    write_csv(root / "annotations/image_labels_train.csv", ("image_id", "rad_id", *GLOBAL), globals_)
    tested: list[list[Any]] = []
    for n in range(images, images + 16):
        label = _VINDR[n % len(_VINDR)]
        box = ["", "", "", ""] if n % 8 == 7 else [2, 3, 20, 30]
        tested.append([f"{n:032x}", "No finding" if n % 8 == 7 else label, *box])
        write_image(root / f"test/{n:032x}.png", seed=n)
    write_csv(root / "annotations/annotations_test.csv", VINDR_TEST, tested)
    columns = ("image_id", *(name.replace("Other diseases", "Other disease") for name in GLOBAL))
    write_csv(root / "annotations/image_labels_test.csv", columns, [[row[0], 0, 0, 0, 0, 0, 0] for row in tested])
    return root


def ms_cxr_rows(images: int = 48) -> list[list[Any]]:
    """Phrases of findings in turn; every sixth has two boxes, and some boxes end beyond the image."""
    labels = ("Atelectasis", "Cardiomegaly", "Pleural Effusion", "Pneumothorax", "Edema", "Pneumonia")
    rows: list[list[Any]] = []
    for n in range(images):
        patient, study = 10_000_000 + n // 2, 50_000_000 + n
        dicom = f"{n:08x}-aaaaaaaa"
        label = labels[n % len(labels)]
        path = f"files/p10/p{patient}/s{study}/{dicom}.jpg"
        about = [label, f"There is a made-up {label.lower()}, number {n}.", path, dicom]
        split = ("train", "train", "val", "test")[n // 2 % 4]
        rows.append([*about, 2, 3, 10, 40, 24, 24, split])
        rows += [[*about, 14, 3, 6, 6, 24, 24, split]] * (n % 6 == 5)
    return rows


def ms_cxr_tree(root: Path, *, images: int = 48, version: str = "1.1.0") -> Path:
    """MS-CXR with the images of MIMIC-CXR-JPG in the same folder."""
    rows = ms_cxr_rows(images)
    cut = slice(None) if version != "1.0.0" else slice(-1)
    write_csv(root / f"MS_CXR_Local_Alignment_v{version}.csv", MS_CXR[cut], [row[cut] for row in rows])
    for row in rows:
        write_image(root / row[2], seed=1)
    return root


def label_cells(draw: random.Random) -> list[str]:
    """Values of the 13 labels as the label tables write them: some present, most not mentioned, few unsure."""
    return [draw.choice(["1.0", "1.0", "", "", "", "0.0", "-1.0"]) for _ in LABELS]


def mimic_labels_tree(root: Path, *, studies: int = 60, by_hand: bool = False) -> Path:
    """MIMIC-CXR-JPG without reports: tables of labels, views and splits, odd view positions among them."""
    draw = random.Random(f"mimic {studies}")
    positions = ("AP", "PA", "LATERAL", "LL", "", "AP AXIAL")
    metadata, splits, labels = [], [], []
    for n in range(studies):
        patient, study = 10_000_000 + n // 2, 50_000_000 + n
        dicoms = {f"{n:08x}-{k:08x}": positions[(n + k) % len(positions)] for k in range(3)}
        metadata += mimic_exam(study, patient, dicoms)
        split = {6: "validate", 7: "test"}.get(n // 2 % 8, "train")
        splits += [[dicom, study, patient, split] for dicom in dicoms]
        labels.append([patient, study, *label_cells(draw)])
        for dicom in dicoms:
            write_image(root / f"files/p10/p{patient}/s{study}/{dicom}.jpg", seed=n)
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, metadata)
    write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", ("dicom_id", "study_id", "subject_id", "split"), splits)
    write_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz", ("subject_id", "study_id", *LABELS), labels)
    if by_hand:
        columns = ("study_id", *(label.replace("Lung Opacity", "Airspace Opacity") for label in LABELS))
        told = [[row[1], *["0.0"] * len(LABELS)] for row in labels if row[1] // 2 % 8 == 7]
        write_csv(root / "mimic-cxr-2.1.0-test-set-labeled.csv", columns, told)
    return root


def chexpert_tree(root: Path, *, patients: int = 40) -> Path:
    """CheXpert-v1.0-small: two frontal images and a lateral one per study, its own folder in the paths."""
    draw = random.Random(f"chexpert {patients}")
    tables: dict[str, list[list[Any]]] = {"train": [], "valid": []}
    for n in range(patients):
        name = "valid" if n % 5 == 4 else "train"
        cells = label_cells(draw)
        for view, kind, projection in ((1, "frontal", "AP"), (2, "frontal", "PA"), (3, "lateral", "")):
            path = f"{name}/patient{n:05d}/study1/view{view}_{kind}.jpg"
            row = [f"CheXpert-v1.0-small/{path}", "Female", 68, kind.capitalize(), projection, "", *cells]
            tables[name].append(row)
            write_image(root / path, seed=n)
    for name, rows in tables.items():
        write_csv(root / f"{name}.csv", CHEXPERT, rows)
    return root


def openi_codes_tree(root: Path, codes: Sequence[Sequence[str]]) -> Path:
    """OpenI: one report per list of MeSH codes, each with a frontal and a lateral image."""
    views = []
    for n, own in enumerate(codes, start=1):
        names = [f"CXR{n}_IM-{n:04d}-1001", f"CXR{n}_IM-{n:04d}-2001"]
        majors = "".join(f"<major>{code}</major>" for code in own)
        text = openi_xml(n, findings="Made up.", images=names).replace("<major>normal</major>", majors)
        path = root / f"ecgen-radiology/{n}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for name, view in zip(names, ("Frontal", "Lateral"), strict=True):
            write_image(root / f"NLMCXR_png/{name}.png", seed=n)
            views.append([n, f"{name.removeprefix('CXR')}.dcm.png", view])
    write_csv(root / "indiana_projections.csv", ("uid", "filename", "projection"), views)
    return root
