"""Cards of data: of an arm's preferences, and of folders with prepared tables."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from chexalign.audit.tables import Prepared
from chexalign.cards.facts import counted, how, judge_lines, left_out, license_lines
from chexalign.cards.mined import learned_from, mined_stages, question_licenses
from chexalign.cards.sources import Sources, plain, section, table, told
from chexalign.errors import UserError
from chexalign.pairs.export_card import ANSWERS, REPORTS, card
from chexalign.pairs.stage import table_of_arm
from chexalign.recipe import Arm, MinedArm, Recipe, folder_name
from chexalign.run_folder import RunFolder
from chexalign.store import MANIFEST, Manifest, Table


def preferences_card(run: RunFolder, recipe: Recipe, arm: str) -> str:
    """The card of what an arm learned from: that of an export, with sources, the audit and the way to it.

    Raises: UserError when the arm's pairs or verdicts are not there.
    """
    spec, sources = recipe.learners()[arm], Sources()
    mined = recipe.mine if isinstance(spec, MinedArm) else None
    rows = table_of_arm(run, arm, spec)
    manifest = Manifest.load(rows.folder)
    if manifest is None:
        raise UserError(
            f"The preferences of the arm {arm} are not there.",
            f"{rows.folder} has no manifest.json, which is written last.",
            "Make them with `chexalign pair`, or give another arm by --arm.",
        )
    name = str(rows.folder.relative_to(run.root))
    file = f"{name}/{MANIFEST}"
    licensed: Table[Any] = run.questions(mined.collection) if mined else run.studies
    columns = [field.name for field in dataclasses.fields(rows.record)]
    text = card(
        f"{name}/part-*.parquet",
        _PLACES_MINED if mined else _PLACES,
        rows=manifest.rows,
        columns=columns,
        licenses=sorted(counted(licensed, "license")),
        source=manifest,
        normalizer=recipe.data.normalizer,
        subject=ANSWERS if mined else REPORTS,
    )
    stages = [run.studies.folder, run.prompts.folder, run.candidates.folder, rows.folder]
    return "\n".join(
        [
            _traced(text, file, manifest, sources).rstrip(),
            "",
            *section("Chosen and rejected", _audit(rows, name, sources)),
            *(learned_from(run, recipe, arm, sources) if mined else _judges(run, spec, sources)),
            *how(recipe, sources),
            *section("Licenses of the studies", license_lines("studies", run.studies, sources)),
            *(question_licenses(run, mined, sources) if mined else []),
            *left_out(run.root, mined_stages(run, mined, arm) if mined else stages, sources),
            *sources.lines(),
            "",
        ]
    )


_PLACES = "records by id, whose texts are in candidates/ and whose images are in studies/"
_PLACES_MINED = "records by id, whose texts are in mine/counterfactuals/ and whose images are in questions/"


def _judges(run: RunFolder, spec: Arm | MinedArm, sources: Sources) -> list[str]:
    judges = spec.judge.tables if isinstance(spec, Arm) else []
    tables = [run.scores(folder_name(judge)) for judge in judges]
    return section("Judges", judge_lines(run, judges, tables, sources))


def _traced(text: str, file: str, manifest: Manifest, sources: Sources) -> str:
    keys = {
        "| format |": "rows",
        "| made from |": "stage, rows, content",
        "| rule |": "config.blocks",
        "| prompts left out |": "dropped",
        "| questions left out |": "dropped",
        f"| software | chexalign {manifest.code_version} ": "code_version",  # not of another version than this one
    }
    lines = []
    for line in text.splitlines():
        key = next((key for start, key in keys.items() if line.startswith(start)), None)
        lines.append(f"{line[:-2]}{sources.note(file, key)} |" if key else line)
    return "\n".join(lines)


def _audit(rows: Table[Any], name: str, sources: Sources) -> Iterator[str]:
    audit: Mapping[str, Any] | None = rows.info(0).extra.get("audit")
    if audit is None:
        yield "Verdicts on single reports have no audit of pairs."
        return
    n, patients = audit["n_pairs"], audit.get("n_patients")
    file = f"{name}/part-00000.json"
    whose = f" of {patients:,} patients" if patients is not None else ""
    note = sources.note(file, "extra.audit.n_pairs, n_patients")
    yield f"Over all {n:,} pairs{whose}{note}; nothing is estimated, so there are no intervals."
    yield ""
    body = []
    for side in ("chosen", "rejected"):
        for what in ("score", "words", "tokens"):
            found = audit.get(side, {}).get(what)
            if found is not None:
                numbers = ["–" if found[key] is None else f"{found[key]:.3f}" for key in ("mean", "median", "sd")]
                body.append([f"{side}, {what}{sources.note(file, f'extra.audit.{side}.{what}')}", *numbers])
    yield from table(["", "mean", "median", "sd"], body)


def data_card(prepared: Prepared) -> str:
    """The card of a folder with prepared tables, from their manifests and columns; it holds no text of a row."""
    sources, root = Sources(), prepared.folder.root
    tables: dict[str, Table[Any]] = {} if prepared.studies is None else {"studies": prepared.studies}
    tables |= {f"questions/{name}": rows for name, rows in prepared.questions.items()}
    lines = [
        "---",
        "license: other",
        "tags: [chexalign, chest-x-ray]",
        "---",
        "",
        f"# {plain(root.resolve().name)}",
        "",
        "**These tables hold text and the paths of images of patients, unless a license below says else.** They are "
        "readable by their owner only and bound by the terms of their collections; do not upload them, and ask before "
        "you hand them on. For research; not for clinical use.",
        "",
    ]
    for name, rows in tables.items():
        lines += section(f"`{name}`", _of_table(name, rows, prepared.manifests[name], sources))
    lines += left_out(root, [rows.folder for rows in tables.values()], sources)
    return "\n".join([*lines, *sources.lines(), ""])


def _of_table(name: str, rows: Table[Any], manifest: Manifest, sources: Sources) -> Iterator[str]:
    file, parts = f"{name}/{MANIFEST}", f"{name}/part-*.parquet"
    content = f"content `{manifest.content}`{sources.note(file, 'content')}"
    yield f"- Rows: {manifest.rows:,}{sources.note(file, 'rows')}, {content}."
    given = told(manifest.config.get("blocks", manifest.config))
    yield f"- Made by: `{given}`{sources.note(file, 'config')}, seed {manifest.seed}{sources.note(file, 'seed')}."
    yield f"- Software: chexalign {manifest.code_version}{sources.note(file, 'code_version')}."
    for source, n in counted(rows, "source").items():
        yield f"- Source: {plain(source)}, {n:,} rows{sources.note(parts, 'column source')}."
    yield from license_lines(name, rows, sources)
    yield ""
    note = sources.note(parts, "columns split, patient_id")
    body = [[plain(split), f"{n:,}{note}", f"{patients:,}"] for split, n, patients in _splits(rows, manifest.parts)]
    yield from table(["split", "rows", "patients"], body)


def _splits(rows: Table[Any], parts: int) -> Iterator[tuple[str, int, int]]:
    counts: Counter[str] = Counter()
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for index in range(parts):
        for split, patient in zip(rows.column(index, "split"), rows.column(index, "patient_id"), strict=True):
            counts[split] += 1
            patients[split].add(patient)
    yield from ((split, n, len(patients[split])) for split, n in counts.items())
