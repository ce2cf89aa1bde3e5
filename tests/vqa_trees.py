"""Small collections of questions in the layouts in which their owners ship them; every word in them is written here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chexalign.data.questions import QuestionsWorker
from chexalign.store import merge_dropped
from chexalign.types import Question
from tests.trees import openi_xml, write_csv, write_image

PAIR_COLUMNS = ("study_id", "subject_id", "ref_id", "question_type", "question", "answer", "split")
STUDY_COLUMNS = ("subject_id", "study_id", "Edema", "dicom_id", "view", "split", "study_date", "study_order")


def write_json(path: Path, value: Any, *, indent: int | None = None) -> Path:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return path


def sample(number: int, **changed: Any) -> dict[str, Any]:
    """A sample of CheXbench about an image of OpenI."""
    return {
        "data_source": "OpenI",
        "slice": "left or right",
        "image_path": f"data/openi/images/CXR{number}_IM-0001-1001.png",
        "question": "Which finding is in this image?",
        "option_0": "small left effusion",
        "option_1": "small right effusion",
        "option_2": None,
        "option_3": float("nan"),
        "answer": number % 2,
    } | changed


def chexbench_tree(root: Path, tasks: Mapping[str, Any] | None = None) -> Path:
    """CheXbench: data.json with two samples per task, and the images of OpenI, MIMIC-CXR and CheXpert."""
    mimic = "data/mimic-cxr/files/p10/p10000032/s50414267/aa-bb.jpg"
    chexpert = "data/chexpert/train/patient00001/study1/view1_frontal.jpg"
    for name in ("openi/images/CXR1_IM-0001-1001.png", "openi/images/CXR2_IM-0001-1001.png"):
        write_image(root / name)
    write_image(root / "files/p10/p10000032/s50414267/aa-bb.jpg")
    write_image(root / "chexpert/train/patient00001/study1/view1_frontal.jpg")
    views = {"question": "Which view is it?", "option_0": "AP", "option_1": "PA", "option_2": "LATERAL", "answer": 2}
    default = {
        "View Classification": [
            sample(1, **views, data_source="MIMIC-CXR", image_path=mimic),
            sample(2, **views, data_source="CheXpert", image_path=[chexpert]),
        ],
        "Visual Question Answering": [sample(1, option_0="yes", option_1="no"), sample(2)],
        "Fine-Grained Reasoning": [sample(1), sample(2)],
        "Temporal Classification": [sample(1, image_path=f"{mimic}|{mimic}", data_source="MIMIC-CXR")],
        "Findings Generation": [{"data_source": "MIMIC-CXR", "image_path": mimic, "section_findings": "Clear."}],
    }
    write_json(root / "data.json", default if tasks is None else tasks)
    return root


def slake_row(qid: int, image: int, **changed: Any) -> dict[str, Any]:
    """A question of SLAKE."""
    return {
        "img_id": image,
        "img_name": f"xmlab{image}/source.jpg",
        "question": "Is the lung healthy?",
        "answer": "No",
        "q_lang": "en",
        "location": "Lung",
        "modality": "X-Ray",
        "answer_type": "CLOSED",
        "base_type": "vqa",
        "content_type": "Abnormality",
        "triple": ["vhead", "_", "_"],
        "qid": qid,
    } | changed


def slake_tree(root: Path, *, validation: str = "validate.json") -> Path:
    """SLAKE: each split has an X-ray with a closed question and an open one, in Chinese too, and a CT."""
    for n, name in enumerate(("train.json", validation, "test.json")):
        image = 100 + n
        write_image(root / f"imgs/xmlab{image}/source.jpg", seed=n)
        rows = [
            slake_row(10 * n, image),
            slake_row(10 * n + 1, image, question="How many lungs are there?", answer="2", answer_type="OPEN"),
            slake_row(10 * n + 2, image, question="肺健康吗？", answer="不健康", q_lang="zh"),
            slake_row(10 * n + 3, 200 + n, modality="CT"),
            slake_row(
                10 * n + 4,
                image,
                question="Which is bigger, the lung or the heart?",
                answer="Lung",
                location="Chest_heart",
            ),
        ]
        write_json(root / name, rows)
    return root


def asked(
    question: str = "Are there any signs in the lung?",
    answers: Sequence[str] = ("no",),
    *,
    before: Sequence[tuple[str, Sequence[str]]] = (),
    options: Sequence[str] = ("yes", "no"),
    path: str = "lung_signs",
    kind: str = "single_choice",
) -> list[Any]:
    """A question of Rad-ReStruct."""
    history = [[text, list(said)] for text, said in before]
    return [question, list(answers), history, {"answer_type": kind, "options": list(options), "path": path}]


SIGNS = ("Are there any signs in the lung?", ["yes"])


def restruct_report() -> list[Any]:
    """The questions of a report with one sign in the lung."""
    opacity = ("Is there opacity in the lung?", ["yes"])
    return [
        asked(answers=["yes"]),
        asked(opacity[0], ["yes"], before=[SIGNS], path="lung_signs_opacity"),
        asked(
            "In which area?",
            ["left", "lower lobe"],
            before=[SIGNS, opacity],
            options=["left", "lower lobe", "right", "unspecified"],
            path="lung_signs_opacity_localization",
            kind="multi_choice",
        ),
        asked("Is there another case of opacity in the lung?", ["no"], before=[SIGNS], path="lung_signs_opacity"),
    ]


def restruct_tree(root: Path, *, reports: int = 6) -> Path:
    """Rad-ReStruct as its repository has it, OpenI's images inside; the fifth report has two frontal images."""
    data = root / "data" / "radrestruct"
    mapping: dict[str, list[str]] = {}
    for n in range(1, reports + 1):
        folder = {5: "val", 6: "test"}.get(n, "train")
        mapping[str(n)] = [f"CXR{n}_IM-{n:04d}-{k}001" for k in ((1, 3) if n == 5 else (1,))]
        for name in mapping[str(n)]:
            write_image(data / f"images/{name}.png", seed=n)
        write_json(data / f"{folder}_qa_pairs/{n}.json", restruct_report() if n % 2 else [asked()])
    write_json(data / "id_to_img_mapping_frontal_reports.json", mapping, indent=2)
    return root


def arguments(**values: Sequence[str]) -> dict[str, dict[str, str]]:
    """The arguments of a template, all five kinds of them."""
    kinds = ("object", "attribute", "category", "viewpos", "gender")
    return {kind: {str(i): value for i, value in enumerate(values.get(kind, ()))} for kind in kinds}


def mimic_row(index: int, *, patient: int = 10000032, study: int = 50414267, **changed: Any) -> dict[str, Any]:
    """A question of MIMIC-Ext-MIMIC-CXR-VQA."""
    dicom = f"{study:08x}-aaaaaaaa"
    return {
        "split": "train",
        "idx": index,
        "subject_id": str(patient),
        "study_id": str(study),
        "image_id": dicom,
        "image_path": f"p{str(patient)[:2]}/p{patient}/s{study}/{dicom}.jpg",
        "question": "Is there pleural effusion in the left lung?",
        "content_type": "presence",
        "semantic_type": "verify",
        "template": "Is there ${attribute} in the ${object}?",
        "template_program": "program_2",
        "template_arguments": arguments(attribute=["pleural effusion"], object=["left lung"]),
        "answer": ["yes"],
    } | changed


def mimic_images(root: Path, exams: Sequence[tuple[int, int]]) -> Path:
    """The JPEG of each exam (patient, study) where MIMIC-CXR-JPG has it."""
    for patient, study in exams:
        name = f"p{str(patient)[:2]}/p{patient}/s{study}/{study:08x}-aaaaaaaa.jpg"
        write_image(root / "files" / name, seed=study)
    return root


def mimic_vqa_tree(root: Path, images: Path) -> Path:
    """MIMIC-Ext-MIMIC-CXR-VQA with a question of each kind in every split."""
    exams = []
    for n, (name, word) in enumerate({"train": "train", "valid": "valid", "test": "test"}.items()):
        whose = {"patient": 10000032 + n, "study": 50414267 + n, "split": word}
        exams.append((10000032 + n, 50414267 + n))
        rows = [
            mimic_row(0, **whose),
            mimic_row(
                1,
                **whose,
                semantic_type="choose",
                content_type="attribute",
                template_program="program_28",
                template_arguments=arguments(attribute=["Edema", "Mass"], category=["disease"]),
                answer=["edema"],
            ),
            mimic_row(
                2,
                **whose,
                semantic_type="query",
                content_type="attribute",
                template_program="program_7",
                template_arguments=arguments(object=["left lung"], category=["disease"]),
                answer=[],
            ),
            mimic_row(
                3,
                **whose,
                semantic_type="query",
                content_type="gender",
                template_program="program_45",
                template_arguments=arguments(),
                answer=["f"],
            ),
        ]
        write_json(root / f"{name}.json", rows, indent=4)
    mimic_images(images, exams)
    return root


def diff_tree(root: Path, images: Path, *, patients: int = 3) -> Path:
    """Medical-Diff-VQA: three exams per patient, the last without a frontal image; one pair runs backwards."""
    studies, pairs, exams = [], [], []
    for n in range(patients):
        patient, first = 10000032 + n, 50000000 + 10 * n
        split = ("train", "val", "test")[n % 3]
        for k, view in enumerate(("postero-anterior", "antero-posterior", "lateral")):
            study = first + k
            exams.append((patient, study))
            dicom = f"{study:08x}-aaaaaaaa"
            official = split.replace("val", "validate")
            studies.append([patient, study, "", dicom, view, official, 21800101 + k, f"{k + 1}.0"])
        old, new, lateral = first, first + 1, first + 2
        pairs += [
            [
                new,
                patient,
                old,
                "difference",
                "what has changed?",
                "the main image has an additional finding of edema than the reference image.",
                split,
            ],
            [
                old,
                patient,
                new,
                "difference",
                "what has changed?",
                "the main image is missing the finding of edema than the reference image.",
                split,
            ],
            [new, patient, old, "presence", "is there edema?", "yes", split],
            [new, patient, old, "abnormality", "what abnormalities are seen?", "edema, pleural effusion", split],
            [new, patient, old, "view", "which view is this image taken?", "AP view", split],
            [new, patient, old, "location", "is the edema on the left side or right side?", "left side", split],
            [new, patient, old, "level", "what level is the edema?", "mild", split],
            [lateral, patient, old, "presence", "is there edema?", "no", split],
        ]
    write_csv(root / "mimic_all.csv", STUDY_COLUMNS, studies)
    write_csv(root / "mimic_pair_questions.csv", PAIR_COLUMNS, pairs)
    told = {"study_id": "50000001", "subject_id": "10000032", "entity": {"edema": {}}, "no_entity": ["mass"]}
    write_json(root / "all_diseases.json", [told])
    mimic_images(images, exams)
    return root


def coded_tree(root: Path, codes: Mapping[int, Sequence[str]]) -> Path:
    """OpenI with these MeSH codes of each report, every report with a frontal and a lateral image."""
    views = []
    for n, of_it in codes.items():
        names = [f"CXR{n}_IM-{n:04d}-{k}001" for k in (2, 1)]
        majors = "".join(f"<major>{code}</major>" for code in of_it)
        path = root / f"ecgen-radiology/{n}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(openi_xml(n, findings="Clear.", images=names).replace("<major>normal</major>", majors))
        for name, view in zip(names, ("Lateral", "Frontal"), strict=True):
            write_image(root / f"NLMCXR_png/{name}.png", seed=n)
            views.append([n, f"{name.removeprefix('CXR')}.dcm.png", view])
    write_csv(root / "indiana_projections.csv", ("uid", "filename", "projection"), views)
    return root


def put_outside(path: Path, elsewhere: Path) -> None:
    """Moves a file out of its tree and leaves a link to it in its place."""
    elsewhere.mkdir(exist_ok=True)
    path.rename(elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)


def questions(source: Any, into: Path) -> tuple[list[Question], dict[str, int]]:
    """All questions of a source, and why others are missing, on listing or on making."""
    items, dropped = source.items()
    worker = QuestionsWorker(source, items, into, part_size=2)
    rows: list[Question] = []
    for index in range(worker.n_parts):
        part = worker.part(index)
        rows += part.rows
        dropped = merge_dropped([dropped, part.dropped])
    assert len({row.id for row in rows}) == len(rows)
    assert len({row.patient_id for row in rows}) == sum(
        len({row.patient_id for row in rows if row.split == split}) for split in ("train", "validation", "test")
    )
    return rows, dropped
