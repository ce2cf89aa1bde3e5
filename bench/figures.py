"""Write every measured number and picture of README.md and docs/ from results/*.json.

    python bench/figures.py            rewrite what differs
    python bench/figures.py --check    exit code 1 when something differs, nothing written

In the text a number stands between `<!-- figure: NAME -->` and `<!-- /figure -->`. NAME is a block of `BLOCKS`, or the
key of a figure, as `judges.chexpert_macro12_f1_test`; `KEY value` leaves the interval out. What results/ does not hold
yet reads "not measured yet". The same results always give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chexalign.present.numbers import fixed

sys.path.insert(0, str(Path(__file__).parent))
from figures_chexpo import claim, gain_rows, metric_rows, seeds_of
from figures_draw import demo_svg, pipeline_svg
from figures_train import algorithm_rows, saving_rows, speed_rows
from results_findings import CLAIMS, Matrix

ROOT = Path(__file__).resolve().parent.parent
MARKER = re.compile(r"<!-- figure: (?P<name>[^>]+?) -->.*?<!-- /figure -->", re.DOTALL)
NOT_YET = "not measured yet"
# A key begins with the name of its file under results/.
FILES = ("demo", "train", "sampling", "judges", "pairs", "data", "stats", "report", "matrix", "chexpo")
OPTIONAL = ("demo.minutes", "demo.peak_mb", "demo.quick_minutes")  # need a timed run
F1_MESH, F1_REFERENCE = "micro_f1_13_vs_mesh", "micro_f1_13_vs_reference"
PLOT, PLOTTED = "demo.plot", "Paired differences against SFT by arm and seed, with 90% intervals"
CHEXPO_SEEDS = 3  # that `make chexpo` runs
AIM = 0.10  # gain in micro F1 that the demo was built to show
Results = Mapping[str, dict[str, Any]]  # file stem -> content


def load(folder: Path) -> Results:
    """The content of every results file, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def number(value: float | None, unit: str, *, signed: bool = False) -> str:
    """The value with as many decimals as its unit deserves, and a true minus sign."""
    if value is None:
        return "–"
    if unit.startswith(("rows", "reports/s", "MB")):
        return f"{round(value):,}"
    if unit.startswith(("ratio", "step without")):
        return fixed(value, 2)
    decimals = 1 if unit == "s" or unit.startswith(("words", "min", "s,")) else 3
    return fixed(value, decimals, signed=signed).replace("-", "−")


def cell(figure: Mapping[str, Any] | None, *, interval: bool = True) -> str:
    """Value and interval; bold for a difference whose interval excludes 0."""
    if figure is None or figure["value"] is None:
        return "–"
    unit, signed = figure["unit"], "baseline" in figure
    text = number(figure["value"], unit, signed=signed)
    low, high = figure.get("low"), figure.get("high")
    if not interval or low is None:
        return text
    text += f" [{number(low, unit, signed=signed)}, {number(high, unit, signed=signed)}]"
    return f"**{text}**" if signed and (low > 0 or high < 0) else text


def direction(figure: Mapping[str, Any]) -> int:
    """1 or -1 where the interval of a difference lies above or below 0, else 0."""
    low, high = figure.get("low"), figure.get("high")
    return 0 if low is None else (low > 0) - (high < 0)


def listed(items: list[Any]) -> str:
    """`11`, `11 and 12`, `11, 12 and 13`."""
    words = [str(item) for item in items]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "none"


def on(seeds: list[int], every: list[int]) -> str:
    """`on every seed` or `on seed 12`; a lone seed is named, since it is not every seed one could think of."""
    if len(every) > 1 and seeds == every:
        return "on every seed"
    return f"on seed{'s' if len(seeds) > 1 else ''} {listed(seeds)}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, the first column left, the others right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


class Demo:
    """What results/demo.json says, by seed and arm."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.figures, self.seeds = content["figures"], list(content["seeds"])
        self.arms: dict[str, str] = content["arms"]
        self.content = content

    def get(self, seed: int, name: str) -> dict[str, Any]:
        """A figure of one seed."""
        found: dict[str, Any] = self.figures[f"demo.seed{seed}.{name}"]
        return found

    def where(self, holds: Callable[[int], bool]) -> str:
        """`**Holds** on every seed.` and the like."""
        yes = [seed for seed in self.seeds if holds(seed)]
        no = [seed for seed in self.seeds if seed not in yes]
        parts = [f"**holds** {on(yes, self.seeds)}"] if yes else []
        parts += [f"**does not hold** {'on any seed' if not yes and len(no) > 1 else on(no, self.seeds)}"] if no else []
        text = ", ".join(parts)
        return f"{text[:2]}{text[2].upper()}{text[3:]}."

    def moved(self, name: str, up: str, down: str) -> str:
        """`rises on every seed`, `falls on seed 12, no change shown on seeds 11 and 13`."""
        parts = []
        for sign, verb in ((1, up), (-1, down), (0, "no change shown")):
            seeds = [seed for seed in self.seeds if direction(self.get(seed, name)) == sign]
            parts += [f"{verb} {on(seeds, self.seeds)}"] if seeds else []
        return ", ".join(parts)

    def values(self, name: str) -> str:
        """The values of all seeds in order."""
        return listed([number(f["value"], f["unit"], signed="baseline" in f) for f in self.each(name)])

    def each(self, name: str) -> list[dict[str, Any]]:
        """A figure of every seed."""
        return [self.get(seed, name) for seed in self.seeds]


def main_table(demo: Demo, name: str) -> str:
    """One row per seed: SFT, its control, and the paired differences of the arms."""
    head = ["seed", "SFT", "SFT, other images", *[f"{arm} − SFT" for arm in demo.arms]]
    names = [f"{name}.sft", f"{name}.sft_shuffled", *[f"{name}.delta.{arm}" for arm in demo.arms]]
    return table(head, [[str(seed), *[cell(demo.get(seed, key)) for key in names]] for seed in demo.seeds])


def more_table(demo: Demo) -> str:
    """Every other metric: SFT and the paired differences, one row per metric and seed."""
    shown = {
        F1_REFERENCE: "micro F1 against the reference",
        "chexpert": "label agreement per report",
        "bertscore": "BERTScore",
        "rouge_l": "ROUGE-L",
        "words": "words per report",
        "findings_per_report": "findings named per report",
        "repetition": "repeated sentences",
    }
    rows = []
    for name, label in shown.items():
        for seed in demo.seeds:
            names = [f"{name}.sft", *[f"{name}.delta.{arm}" for arm in demo.arms]]
            rows.append([label, str(seed), *[cell(demo.get(seed, key)) for key in names]])
    return table(["metric", "seed", "SFT", *[f"{arm} − SFT" for arm in demo.arms]], rows)


def claims(demo: Demo) -> str:
    """The four things that the demo set out to show, each as its intervals have it."""
    label, contrast, null = f"{F1_MESH}.delta.dpo_label", f"{F1_MESH}.delta.dpo_bertscore", "null_pairs"

    def uses_image(seed: int) -> bool:
        true, other = demo.get(seed, f"{F1_MESH}.sft")["value"], demo.get(seed, f"{F1_MESH}.sft_shuffled")["value"]
        return bool(true > 0 and true >= 2 * other)

    def gains(seed: int) -> bool:
        return all(direction(demo.get(seed, key)) > 0 for key in (label, "judge_score.delta.dpo_label"))

    def is_null(seed: int) -> bool:
        return all(direction(demo.get(seed, f"{key}.delta.{null}")) <= 0 for key in (F1_MESH, "judge_score"))

    aimed = [seed for seed in demo.seeds if demo.get(seed, label)["value"] >= AIM]
    return "\n".join(
        [
            "1. The SFT policy reads the image: its micro F1 against the MeSH codes is at least twice that with the "
            f"images of other studies. {demo.where(uses_image)} Values: {demo.values(f'{F1_MESH}.sft')} against "
            f"{demo.values(f'{F1_MESH}.sft_shuffled')}.",
            "2. DPO with the label judge raises the judge's own score and micro F1 against the MeSH codes, both "
            f"intervals above 0. {demo.where(gains)} Micro F1 moves by {demo.values(label)}; a gain of "
            f"{fixed(AIM, 2)} was aimed for and reached {on(aimed, demo.seeds) if aimed else 'on no seed'}.",
            "3. The same pairs ordered by a coin bring no such gain: neither interval lies above 0. "
            f"{demo.where(is_null)} Micro F1 moves by {demo.values(f'{F1_MESH}.delta.{null}')}.",
            "4. For contrast, DPO with BERTScore as judge. BERTScore: "
            f"{demo.moved('judge_score.delta.dpo_bertscore', 'rises', 'falls')}. Micro F1 against the codes: "
            f"{demo.moved(contrast, 'rises', 'falls')}. Length: "
            f"{demo.moved('words.delta.dpo_bertscore', 'grows', 'shrinks')}.",
        ]
    )


def stages(demo: Demo) -> str:
    """Rows and seconds of work of each stage."""
    rows = []
    for key, figure in demo.figures.items():
        if key.startswith("demo.seconds."):
            name = key.removeprefix("demo.seconds.")
            count = demo.figures.get(f"demo.counts.{name}")
            rows.append([f"`{name}`", number(count["value"], "rows") if count else "", cell(figure)])
    return table(["stage", "rows (first seed)", "seconds of work, median [lowest, highest] over seeds"], rows)


def dropped(demo: Demo) -> str:
    """Why rows are missing, per table."""
    rows = []
    for key, figure in demo.figures.items():
        if key.startswith("demo.counts."):
            rows += [[f"`{key[12:]}`", f"`{reason}`", f"{n:,}"] for reason, n in figure.get("dropped", {}).items()]
    return table(["table", "reason", "rows dropped"], rows)


def setting(content: Mapping[str, Any]) -> str:
    """When, with which code and on which machine a file's numbers were measured."""
    machine, versions = content["machine"], content["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured on {content['date']} at commit `{content['commit'][:12]}`, {machine['cpu']}, "
        f"{machine['cores']} cores; {packages}. Seeds {listed(content['seeds'])}. Again: `{content['command']}`."
    )


def settings(content: Mapping[str, Any]) -> str:
    """The same for a file that several scripts write."""
    return "\n\n".join(setting(told) for told in content["scripts"].values())


def judge_table(content: Mapping[str, Any]) -> str:
    """F1 of the rule labeler per finding."""
    start = "judges.chexpert_f1_test."
    rows = [
        [key.removeprefix(start).replace("_", " "), f"{figure['n']:,}", f"{figure['n_labeled']:,}", cell(figure)]
        for key, figure in content["figures"].items()
        if key.startswith(start)
    ]
    return table(["finding", "reports with the code", "reports with the label", "F1"], rows)


def train_speed(content: Mapping[str, Any]) -> str:
    """Training against TRL's trainers."""
    head = ["case", "step, times faster", "one epoch with its reference pass", "checked before timing"]
    return table(head, speed_rows(content, cell))


def train_savings(content: Mapping[str, Any]) -> str:
    """What each saving is worth."""
    return table(["without", "two images", "one image", "short prompt"], saving_rows(content, cell))


def train_algorithms(content: Mapping[str, Any]) -> str:
    """The algorithms against each other."""
    head = ["algorithm", "epoch against DPO", "in the CheXalign paper", "loss function's share of a step"]
    return table(head, algorithm_rows(content, cell))


def sampling_table(content: Mapping[str, Any]) -> str:
    """What sampling gains and costs."""
    labels = {
        "speedup_vs_four_calls": "times as fast as four calls of `generate`",
        "speedup_vs_num_return_sequences": "times as fast as one call with `num_return_sequences=4`",
        "write_overhead": "writing the table and finding it again, as a share of the stage's time",
        "rss_growth_mb_1k_to_100k": "more memory with 100,000 prompts than with 1,000, in MB",
        "endpoint_efficiency": "speed through a server, as a share of a bare loop with the same client",
    }
    figures = content["figures"]
    found = {label: figures.get(f"sampling.{name}") for name, label in labels.items()}
    rows = [[label, cell(figure), figure["checked"]] for label, figure in found.items() if figure]
    return table(["", "median [lowest, highest]", "checked"], rows)


def matrix_findings(content: Mapping[str, Any]) -> str:
    """Which of the paper's findings appear, one line each, for README."""
    matrix = Matrix(content)
    told = [f"- {claim.says}: **{claim.overall(matrix)}**" for claim in CLAIMS.values()]
    return "\n".join([*told, "", "By which rule, in which arms and by how much: [docs/results.md](docs/results.md)."])


def chexpo_gains(content: Mapping[str, Any]) -> str:
    """What mined questions teach, as a relative gain in accuracy."""
    return table(*gain_rows(content["figures"], cell)) if seeds_of(content["figures"]) else NOT_YET


def chexpo_metrics(content: Mapping[str, Any]) -> str:
    """What mined questions teach, by every metric."""
    return table(*metric_rows(content["figures"], cell)) if seeds_of(content["figures"]) else NOT_YET


def chexpo_claims(content: Mapping[str, Any]) -> str:
    """The published claim, and what became of it here."""
    figures = content["figures"]
    if not (seeds := seeds_of(figures)):
        return NOT_YET
    lines = [
        f"- Over SFT: {claim(figures, 'relative_gain_vs_sft', direction, cell)}.",
        f"- Over as many questions drawn at random: {claim(figures, 'vs_random5', direction, cell)}.",
    ]
    if len(seeds) < CHEXPO_SEEDS:
        lines.append(f"- Measured on {len(seeds)} of {CHEXPO_SEEDS} seeds.")
    return "\n".join(lines)


def _demo(render: Callable[[Demo], str]) -> tuple[str, Callable[[Mapping[str, Any]], str]]:
    return "demo", lambda content: render(Demo(content))


# Name of a block -> (file under results/, how it is written).
BLOCKS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "demo.table": _demo(lambda demo: main_table(demo, F1_MESH)),
    "demo.judge_table": _demo(lambda demo: main_table(demo, "judge_score")),
    "demo.more_table": _demo(more_table),
    "demo.claims": _demo(claims),
    "demo.stages": _demo(stages),
    "demo.dropped": _demo(dropped),
    "demo.setting": ("demo", setting),
    "matrix.findings": ("matrix", matrix_findings),
    "chexpo.gains": ("chexpo", chexpo_gains),
    "chexpo.metrics": ("chexpo", chexpo_metrics),
    "chexpo.claims": ("chexpo", chexpo_claims),
    "judges.table": ("judges", judge_table),
    "judges.setting": ("judges", lambda content: setting(content["scripts"]["chexpert_openi.py"])),
    "train.speed": ("train", train_speed),
    "train.savings": ("train", train_savings),
    "train.algorithms": ("train", train_algorithms),
    "train.setting": ("train", setting),
    "sampling.table": ("sampling", sampling_table),
    "sampling.setting": ("sampling", settings),
}


def rendered(name: str, results: Results, *, images: str) -> str:
    """What belongs between the markers of that name; `images` is the way to docs/img from the page.

    Raises: KeyError for a name that is neither a block nor a figure of a file that is there.
    """
    if name == PLOT:
        return f"\n\n![{PLOTTED}]({images}/demo.svg)\n\n" if "demo" in results else NOT_YET
    if name in BLOCKS:
        stem, render = BLOCKS[name]
        return f"\n\n{render(results[stem])}\n\n" if stem in results else NOT_YET
    key, _, only = name.partition(" ")
    stem = key.split(".")[0]
    if stem not in FILES:
        raise KeyError(f"no file of results has figures like {key}")
    figure = results.get(stem, {}).get("figures", {}).get(key)
    if figure is None:
        if stem in results and key not in OPTIONAL:
            raise KeyError(f"results/{stem}.json has no figure {key}")
        return NOT_YET
    return cell(figure, interval=only != "value")


def filled(text: str, results: Results, *, images: str) -> str:
    """The page with everything between markers written anew."""

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- figure: {name} -->{rendered(name, results, images=images)}<!-- /figure -->"

    return MARKER.sub(replace, text)


def outputs(root: Path = ROOT) -> dict[Path, str]:
    """Every file that this script answers for, with what it must hold."""
    results = load(root / "results")
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    out = {}
    for page in pages:
        images = "docs/img" if page.parent == root else "img"
        out[page] = filled(page.read_text(encoding="utf-8"), results, images=images)
    demo = results.get("demo")
    out[root / "docs/img/pipeline.svg"] = pipeline_svg(demo["figures"] if demo else {})
    if demo:
        out[root / "docs/img/demo.svg"] = demo_svg(demo["figures"], demo["seeds"], list(demo["arms"]))
    return out


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when something differs")
    args = parser.parse_args()
    differ = [(p, t) for p, t in outputs().items() if not p.is_file() or p.read_text(encoding="utf-8") != t]
    for path, text in differ:
        print(path.relative_to(ROOT), file=sys.stderr)
        if not args.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return int(args.check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
