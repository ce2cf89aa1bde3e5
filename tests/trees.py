"""Small collections in the layouts in which their owners ship them; every sentence in them is written here."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

FINDINGS = (
    "The lungs are clear. The heart is of normal size.",
    "There is a small left pleural effusion. No pneumothorax.",
    "The heart is mildly enlarged. No focal consolidation.",
    "Patchy opacity at the right base. No effusion.",
)
METADATA = (
    *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns"),
    *("StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning"),
    "PatientOrientationCodeSequence_CodeMeaning",
)


def write_image(path: Path, *, seed: int = 0, side: int = 24) -> Path:
    """A small gray image of noise, JPEG or PNG by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.Random(f"{seed} {path.name}").randbytes(side * side)
    Image.frombytes("L", (side, side), noise).save(path)
    return path


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """A CSV file, packed where its name ends with gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as f:
        csv.writer(f).writerows([header, *rows])
    return path


def report(findings: str | None, *, indication: str = "Cough.", impression: str = "See above.") -> str:
    """A report as MIMIC-CXR has them: a blank before each line, headings with a colon."""
    texts = {"INDICATION": indication, "COMPARISON": "None.", "FINDINGS": findings, "IMPRESSION": impression}
    sections = "".join(f" {name}:  {text}\n \n" for name, text in texts.items() if text is not None)
    return f"{' ' * 33}FINAL REPORT\n{sections}"


def mimic_exam(
    study: int, patient: int, views: Mapping[str, str], *, date: int = 21800101, time: str = "83000.5", coded: str = ""
) -> list[list[Any]]:
    """Rows of the metadata of one exam; `views` has the ViewPosition of each DICOM id."""
    return [
        [dicom, patient, study, "CHEST (PA AND LAT)", view, 24, 24, date, time, "", coded, "Erect"]
        for dicom, view in views.items()
    ]


def mimic_tree(root: Path, *, patients: int = 12, exams: int = 2, images: bool = True) -> Path:
    """MIMIC-CXR-JPG with the reports of MIMIC-CXR inside: patients of `exams` studies, frontal and lateral.

    A fourth of the patients is validate or test. Every fifth report has no findings.
    """
    metadata, splits = [], []
    for n in range(patients):
        patient = 10_000_000 + 1_234_567 * n % 9_999_999
        split = {2: "validate", 3: "test"}.get(n % 8, "train")
        for k in range(exams):
            study = 50_000_000 + n * 100 + k
            dicoms = {f"{study:08x}-aaaaaaaa": "PA" if k % 2 else "AP", f"{study:08x}-bbbbbbbb": "LATERAL"}
            metadata += mimic_exam(study, patient, dicoms, date=21800101 + k, time=f"{9 - k % 2}3000.25")
            splits += [[dicom, study, patient, split] for dicom in dicoms]
            folder = f"p{str(patient)[:2]}/p{patient}"
            text = root / f"mimic-cxr-reports/files/{folder}/s{study}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(report(None if (n + k) % 5 == 4 else FINDINGS[(n + k) % len(FINDINGS)]))
            for dicom in dicoms if images else ():
                write_image(root / f"files/{folder}/s{study}/{dicom}.jpg", seed=study)
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, metadata)
    write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", ("dicom_id", "study_id", "subject_id", "split"), splits)
    return root


def openi_xml(number: int, *, findings: str | None, images: Sequence[str]) -> str:
    """One report of OpenI."""
    sections = {
        "COMPARISON": "None.",
        "INDICATION": "XXXX with cough.",
        "FINDINGS": findings,
        "IMPRESSION": "As above.",
    }
    texts = "".join(f'<AbstractText Label="{k}">{v}</AbstractText>' for k, v in sections.items() if v is not None)
    parents = "".join(f'<parentImage id="{name}"><figureId>F1</figureId></parentImage>' for name in images)
    body = f"<MedlineCitation><Article><Abstract>{texts}</Abstract></Article></MedlineCitation>"
    return f'<eCitation><uId id="CXR{number}"/>{body}<MeSH><major>normal</major></MeSH>{parents}</eCitation>'


def openi_tree(root: Path, *, studies: int = 12) -> Path:
    """OpenI: XML reports, PNG images, and the table of their views; every sixth report has no findings."""
    views = []
    for n in range(1, studies + 1):
        names = [f"CXR{n}_IM-{n:04d}-1001", f"CXR{n}_IM-{n:04d}-2001"]
        text = None if n % 6 == 0 else FINDINGS[n % len(FINDINGS)]
        path = root / f"ecgen-radiology/{n}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(openi_xml(n, findings=text, images=names))
        for name, view in zip(names, ("Frontal", "Lateral"), strict=True):
            write_image(root / f"NLMCXR_png/{name}.png", seed=n)
            views.append([n, f"{name.removeprefix('CXR')}.dcm.png", view])
    write_csv(root / "indiana_projections.csv", ("uid", "filename", "projection"), views)
    return root


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The rows as CSV, TSV, JSON lines or Parquet, by the name; lists are joined by `|` where cells are texts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        cells = [["|".join(v) if isinstance(v, list) else v for v in row.values()] for row in rows]
        with path.open("w", newline="") as f:
            csv.writer(f, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([list(rows[0]), *cells])
    return path


def table_rows(folder: Path, *, studies: int = 12) -> list[dict[str, Any]]:
    """Rows of a table with two studies per patient, frontal and lateral, and their images."""
    rows = []
    for n in range(studies):
        names = [f"img/{n}_f.png", f"img/{n}_l.jpg"]
        for name in names:
            write_image(folder / name, seed=n)
        rows.append(
            {
                "id": f"study{n}",
                "patient": f"p{n // 2}",
                "images": names,
                "view": ["frontal", "lateral"],
                "findings": FINDINGS[n % len(FINDINGS)],
                "indication": "Cough." if n % 2 else None,
            }
        )
    return rows


PLUS = (
    *("path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order"),
    *("report", "section_narrative", "section_clinical_history", "section_history", "section_comparison"),
    *("section_technique", "section_procedure_comments", "section_findings", "section_impression"),
    *("section_end_of_impression", "section_summary", "section_accession_number", "age", "sex", "race", "ethnicity"),
    *("interpreter_needed", "insurance_type", "recent_bmi", "deceased", "split"),
)


def plus_row(
    patient: int, study: int, view: int, *, split: str = "train", lateral: bool = False, **cells: Any
) -> dict[str, Any]:
    """A row of the table of CheXpert Plus, which is one image; `cells` replace or fill columns."""
    name = f"{split}/patient{patient:05d}/study{study}/view{view}_{'lateral' if lateral else 'frontal'}"
    row = dict.fromkeys(PLUS, "") | {
        "path_to_image": f"{name}.jpg",
        "path_to_dcm": f"{name}.dcm",
        "frontal_lateral": "Lateral" if lateral else "Frontal",
        "ap_pa": "" if lateral else "AP",
        "deid_patient_id": f"patient{patient:05d}",
        "patient_report_date_order": study,
        "section_findings": f"\n{FINDINGS[(patient + study) % len(FINDINGS)].upper()}\n",
        "section_impression": "\n1. NO ACUTE PROCESS.\n\n2. LINES AS ABOVE.\n",
        "section_clinical_history": "\nCough. \n",
        "section_history": "\n",
        "split": split,
    }
    return row | cells


def plus_tree(root: Path, *, patients: int = 12) -> Path:
    """CheXpert Plus with PNG images: two studies per patient, the second with a lateral image; two patients are valid.

    The second study of every third patient has no findings.
    """
    rows = []
    for patient in range(1, patients + 1):
        split = "valid" if patient > patients - 2 else "train"
        missing = {"section_findings": "\n"} if patient % 3 == 0 else {}
        rows += [plus_row(patient, 1, 1, split=split), plus_row(patient, 2, 1, split=split, **missing)]
        rows.append(plus_row(patient, 2, 2, split=split, lateral=True, **missing))
    write_plus(root, rows)
    for row in rows:
        write_image(root / "PNG" / Path(row["path_to_image"]).with_suffix(".png"), seed=1)
    return root


def write_plus(root: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The table of CheXpert Plus, with the unnamed column of numbers in front that some exports have."""
    numbered = [[n, *row.values()] for n, row in enumerate(rows)]
    return write_csv(root / "df_chexpert_plus_240401.csv", ("", *PLUS), numbered)


def hf_rows(n: int, *, first: int = 0) -> list[dict[str, Any]]:
    """Rows of a Hugging Face dataset with an image inside each, two studies per patient."""
    rows = []
    for i in range(first, first + n):
        buffer = BytesIO()
        Image.frombytes("L", (24, 24), random.Random(i).randbytes(24 * 24)).save(buffer, format="PNG")
        rows.append(
            {
                "patient": f"p{i // 2}",
                "findings": FINDINGS[i % len(FINDINGS)],
                "images": {"bytes": buffer.getvalue(), "path": f"{i}.png"},
                "view": i % 2,
            }
        )
    return rows


def write_arrow(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """An Arrow file as `save_to_disk` of the library datasets writes one, the names of views in its metadata."""
    import pyarrow as pa

    features = {"view": {"names": ["frontal", "lateral"], "_type": "ClassLabel"}, "images": {"_type": "Image"}}
    table = pa.Table.from_pylist([dict(row) for row in rows])
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as f, pa.ipc.new_stream(f, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


def hf_saved(folder: Path, rows: Sequence[Mapping[str, Any]], *, shards: int = 1) -> Path:
    """One split as `save_to_disk` writes it."""
    size = -(-len(rows) // shards)
    names = [f"data-{n:05d}-of-{shards:05d}.arrow" for n in range(shards)]
    for n, name in enumerate(names):
        write_arrow(folder / name, rows[n * size : (n + 1) * size])
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return folder


def hf_tree(root: Path) -> Path:
    """A dataset with the splits train, of two files, and test."""
    hf_saved(root / "train", hf_rows(12), shards=2)
    hf_saved(root / "test", hf_rows(4, first=12))
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return root


PADCHEST = (
    *("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM"),
    *("ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "ReportID", "Report", "MethodLabel"),
    *("Labels", "Localizations"),
)


def padchest_row(study: str, patient: str, image: str, **cells: Any) -> dict[str, Any]:
    """A row of the table of PadChest, which is one image; `cells` replace columns."""
    row = dict.fromkeys(PADCHEST, "nan") | {
        "ImageID": f"{image}.png",
        "ImageDir": 0,
        "StudyDate_DICOM": 20150101,
        "StudyID": study,
        "PatientID": patient,
        "Projection": "PA",
        "Report": " sin hallazg patolog . ",
        "MethodLabel": "RNN_model",
        "Labels": "['normal']",
    }
    return row | cells


def write_padchest(root: Path, rows: Sequence[Mapping[str, Any]], *, images: bool = True) -> Path:
    """The table of PadChest and its images, which have 16 bits, in their folders."""
    for row in rows if images else ():
        path = root / str(row["ImageDir"]) / row["ImageID"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("I;16", (8, 8), random.Random(row["ImageID"]).randbytes(128)).save(path)
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
    return write_csv(root / name, PADCHEST, [list(row.values()) for row in rows])
