"""Write docs/results.md, what the matrix of algorithms and judges shows, from results/matrix.json.

    python bench/results_page.py            write the page if it differs
    python bench/results_page.py --check    exit code 1 when it differs, nothing written
    python bench/results_page.py --results FILE --write FILE    from other results, to another file

Every number of the page comes from that file, or from the published numbers that `chexalign compare --quoted paper`
has too. The same results always give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chexalign.compare.quoted import read_quoted
from chexalign.present.numbers import fixed
from chexalign.run_folder import SFT

sys.path.insert(0, str(Path(__file__).parent))
from figures import cell, listed, number, table
from results_findings import (
    ABSENT,
    APPEARS,
    CLAIMS,
    MIXED,
    NAMES,
    NOTHING,
    OPPOSITE,
    UNKNOWN,
    Claim,
    Matrix,
    shorter,
)
from results_words import FINDINGS, GENERATED, RULES, Finding

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "results/matrix.json", ROOT / "docs/results.md"


def page(content: Mapping[str, Any]) -> str:
    """The whole page."""
    matrix = Matrix(content)
    quoted = paper_values()
    parts = [
        GENERATED,
        "# Results: five algorithms by two judges",
        what_was_run(matrix),
        "## What appears of the paper's findings",
        summary(matrix),
        RULES.format(level=percent(matrix.level), chance=percent(1 - matrix.level)),
        "## Algorithms by judges",
        "Differences from SFT, means over the seeds with their t intervals; bold where the interval excludes 0.",
        overview(matrix),
        *(part for finding in FINDINGS for part in section(matrix, finding, quoted)),
        "## How it was measured",
        settings(matrix),
    ]
    return "\n\n".join(parts) + "\n"


def paper_values() -> dict[str, str]:
    """Published numbers by `SYSTEM/METRIC`, as the package quotes them, and lengths of the paper's Table 2."""
    found = {
        f"{one.system}/{metric}": f"{value:.1f}%" if one.percent else f"{value:.3f}"
        for one in read_quoted("paper")
        for metric, value in one.values.items()
    }
    words = json.loads((ROOT / "tests/golden/stats/paper.json").read_text(encoding="utf-8"))["words"]
    return found | {f"words/{name}": f"{value:g}" for name, value in words.items()}


def what_was_run(matrix: Matrix) -> str:
    """The first paragraph: what was trained on what, how often."""
    recipe, splits = matrix.content["recipe"], matrix.content["recipe"]["data"]["split"]
    algorithms = listed([NAMES.get(name, name) for name in dict.fromkeys(matrix.algorithm.values())])
    judges = listed([f"`{judge}`" for judge in dict.fromkeys(matrix.judge.values())])
    questions = (recipe.get("questions") or {}).get("collections") or [{}]
    taught = f", together with {questions[0]['sft']:,} questions" if questions[0].get("sft") else ""
    return (
        f"A small reproduction of CheXalign's comparison: {algorithms}, each with pairs by {judges}, on "
        f"{'seeds' if len(matrix.seeds) > 1 else 'seed'} {listed(matrix.seeds)}. A policy of a few million parameters "
        "learned to write reports from "
        f"{splits['sft']:,} studies{taught}; {recipe['sample']['n']} candidates for each of {splits['prefer']:,} other "
        f"studies gave the pairs, the same candidates for all {len(matrix.judge)} arms; {splits['test']:,} studies "
        "that nothing was learned from are the test. Reports are those of OpenI, images are drawn by a program "
        "([demo.md](demo.md)), so nothing here says how good a policy is with real images. What can be asked at this "
        "scale is whether the paper's findings are properties of the method or of its models and data."
    )


def percent(share: float) -> str:
    """`90` for 0.9."""
    return fixed(100 * share, 0)


def summary(matrix: Matrix) -> str:
    """One row per claim."""
    rows = []
    for finding in FINDINGS:
        for key in finding.claims:
            claim = CLAIMS[key]
            rows.append([claim.says, f"**{claim.overall(matrix)}**", counted(matrix, claim)])
    return table(["finding", "here", "where"], rows).replace("---:", "---")


def counted(matrix: Matrix, claim: Claim) -> str:
    """`appears: 1 of 10 (DPO by chexpert); opposite: 9 of 10`."""
    found = claim.verdicts(matrix)
    words = [w for w in (APPEARS, MIXED, ABSENT, OPPOSITE, NOTHING, UNKNOWN) if w in found.values()]
    if len(words) == 1:
        return f"{words[0]}: all {len(found)}"
    parts = []
    for word in words:
        subjects = [subject for subject, of in found.items() if of == word]
        names = ", ".join(subject_name(matrix, subject) for subject in subjects)
        parts.append(f"{word}: {len(subjects)} of {len(found)}" + (f" ({names})" if len(subjects) <= 4 else ""))
    return "; ".join(parts)


def subject_name(matrix: Matrix, subject: str) -> str:
    """What a verdict is about: an arm, or a judge."""
    return matrix.named(subject) if subject in matrix.judge else f"judge {subject}"


def overview(matrix: Matrix) -> str:
    """Algorithms by judges: the main numbers, means over seeds."""
    columns: dict[str, Callable[[str], str]] = {
        "own judge": lambda arm: f"{matrix.judge[arm]}.delta.{arm}",
        "micro F1, human codes": lambda arm: f"micro_f1_13_vs_mesh.delta.{arm}",
        "words": lambda arm: f"words.delta.{arm}",
        "accuracy, mean of tasks": lambda arm: f"tax.mean.delta.{arm}",
        "own judge ahead, sd": lambda arm: f"goodhart_gap.{arm}",
    }
    rows = [
        [matrix.named(arm), *[cell(matrix.over_seeds(matrix.each(name(arm)))) for name in columns.values()]]
        for arm in matrix.judge
    ]
    return table(["arm", *columns], rows)


def section(matrix: Matrix, finding: Finding, quoted: Mapping[str, str]) -> list[str]:
    """A finding: what the paper has, what is seen here, the tables."""
    bound = (matrix.content["recipe"].get("questions") or {}).get("tax_bound")
    about = finding.about.format(bound=bound)
    out = [f"## {finding.title}", f"**The paper.** {quoting(finding.paper, quoted)}", about]
    for key in finding.claims:
        claim = CLAIMS[key]
        sentence = f"**{claim.says[0].upper()}{claim.says[1:]}: {claim.overall(matrix)}.**"
        out.append(f"{sentence} {counted(matrix, claim)[0].upper()}{counted(matrix, claim)[1:]}.")
        if claim.shown is not None:
            out.append(by_seed(matrix, claim))
    if "words" in finding.claims:
        out += lengths(matrix)
    return out


def by_seed(matrix: Matrix, claim: Claim) -> str:
    """What SFT has, every arm's difference from it on every seed, the mean over seeds, and the verdict."""
    assert claim.shown is not None
    found = claim.verdicts(matrix)
    names = [claim.shown(matrix, arm).split(".delta.") for arm in matrix.judge]
    bases = list(dict.fromkeys(name[0] for name in names if len(name) > 1))
    rows = []
    for base in bases:
        each = matrix.each(f"{base}.{SFT}")
        label = "SFT itself" if len(bases) == 1 else f"SFT itself, {base.removeprefix('lc_')}"
        n = f" (n {each[0]['n']:,})" if each[0] else ""
        rows.append([f"*{label}*{n}", *map(cell, each), cell(matrix.over_seeds(each)), ""])
    for arm in matrix.judge:
        each = matrix.each(claim.shown(matrix, arm))
        rows.append([matrix.named(arm), *map(cell, each), cell(matrix.over_seeds(each)), found[arm]])
    return table(["arm", *[f"seed {seed}" for seed in matrix.seeds], "mean, t interval", "verdict"], rows)


def quoting(text: str, quoted: Mapping[str, str]) -> str:
    """The text with {SYSTEM/METRIC} replaced by what was published."""
    return re.sub(r"\{([^}]+)\}", lambda found: quoted[found[1]], text)


def lengths(matrix: Matrix) -> list[str]:
    """LC-DPO against DPO, verbosity, and the verdicts of the runs on length."""
    judges = dict.fromkeys(matrix.judge.values())
    gaps = [[f"LC-DPO − DPO by {judge}", cell(shorter(matrix, judge))] for judge in judges]
    verdicts = [matrix.content["verdicts"][f"seed{seed}"]["length"] for seed in matrix.seeds]
    rows = []
    for arm in matrix.judge:
        each = matrix.each(f"verbosity_vs_sft.{arm}")
        ratios = [number(figure["value"], figure["unit"]) if figure else "–" for figure in each]
        rows.append([matrix.named(arm), *ratios, *[one.get(arm, "–") for one in verdicts]])
    seeds = [f"seed {seed}" for seed in matrix.seeds]
    return [
        table(["words per report", "mean over seeds, t interval"], gaps),
        "Words over those of SFT, and what each run concludes of them by the rule of "
        "[statistics.md](statistics.md#length) (*no growth* where the ratio is at most 1.1, *longer and better* where "
        "reports are longer and the length-controlled win rate lies above one half, *longer only* where it does not):",
        table(["arm", *[f"ratio, {seed}" for seed in seeds], *[f"verdict, {seed}" for seed in seeds]], rows),
    ]


def settings(matrix: Matrix) -> str:
    """Commits, recipe, machine and minutes."""
    content, figures = matrix.content, matrix.content["figures"]
    commits = sorted({commit[:12] for run in content["runs"] for commit in run["commits"]})
    digests = [f"`{run['recipe_digest']}` (seed {run['seed']})" for run in content["runs"]]
    machine, minutes = content["machine"], figures.get("matrix.minutes")
    time = "The runs were not timed from start to end."
    if minutes:
        loads = listed([fixed(load, 1) for run in content["runs"] for load in run["load_before"][:1]])
        time = (
            f"Minutes for all seeds together: {number(minutes['value'], minutes['unit'])}. Load average of the "
            f"machine before each began: {loads}."
        )
    lines = [
        f"- Again: `{content['command']}`, which is the recipe "
        "[recipes/matrix.yaml](../recipes/matrix.yaml) once per seed, then `make figures`.",
        f"- Date {content['date']}; code at commit {listed([f'`{c}`' for c in commits])}; recipes {listed(digests)}.",
        f"- Machine: {machine['cpu']}, {machine['cores']} cores, {fixed(machine['memory_gb'], 0)} GB; "
        + ", ".join(f"{name} {version}" for name, version in content["versions"].items())
        + ".",
        f"- {time}",
        f"- Intervals of single seeds are paired bootstrap intervals over test studies, {percent(matrix.level)}%; how "
        "often such intervals hold the truth: [statistics.md](statistics.md).",
        f"- All {len(figures):,} numbers: `results/matrix.json`.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the page differs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the results to read")
    parser.add_argument("--write", type=Path, default=PAGE, help="the page to write")
    args = parser.parse_args()
    if not args.results.is_file():
        print(f"no {args.results.name} yet; `make matrix` makes it", file=sys.stderr)
        return 0
    text = page(json.loads(args.results.read_text(encoding="utf-8")))
    if args.write.is_file() and args.write.read_text(encoding="utf-8") == text:
        return 0
    print(args.write.name, file=sys.stderr)
    if not args.check:
        args.write.write_text(text, encoding="utf-8")
    return int(args.check)


if __name__ == "__main__":
    sys.exit(main())
