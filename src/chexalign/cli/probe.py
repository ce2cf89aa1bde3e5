"""`chexalign probe`: what a judge can and cannot tell apart, before it may label."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexalign.cli.options import add_json, add_set, print_rows
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.recipe import JudgeSpec

HELP = """Asks a judge whether it puts a report above one that is worse in a known way.

Each probe edits real reference reports: a negation flipped, a side swapped, a degree changed, a finding left out or
invented, a comparison with a study that was never made, sentences repeated. The harmful edit must lose against the
same report in other words. Prints how often it does, with intervals; which reports were edited is not shown."""
EXAMPLE = "chexalign probe chexpert"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """JUDGE, --set, --reports, --n, --pass-rate, --json."""
    parser.add_argument("judge", metavar="JUDGE", help="a judge (`chexalign list judges`), or lc-NAME for lc of NAME")
    add_set(parser)
    parser.add_argument(
        "--reports",
        metavar="FILE",
        type=Path,
        help="a text file with one report in each line; when left out, findings of OpenI from the installed package",
    )
    parser.add_argument("--n", metavar="N", type=int, default=300, help="how many reports (default: 300)")
    parser.add_argument(
        "--pass-rate", metavar="RATE", type=float, default=0.8, help="what a probe is passed at (default: 0.8)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints a row per probe; exit code 1 where the judge fails one."""
    from chexalign.judges.probes import run_probes
    from chexalign.judges.stage import make_judge

    if args.n < 1 or not 0 < args.pass_rate <= 1:
        raise UserError(
            f"--n {args.n} --pass-rate {args.pass_rate}",
            "a probe needs at least one report, and a rate lies above 0 and is at most 1",
            "for example --n 300 --pass-rate 0.8",
        )
    spec = _spec(args.judge, args.set)
    _check_servers(spec, of_openi=args.reports is None)
    judge = make_judge(spec)
    reports = _from_file(args.reports) if args.reports else _openi()
    results = run_probes(judge, dict(list(reports.items())[: args.n]), pass_rate=args.pass_rate)
    rows: list[dict[str, Any]] = [
        {
            "probe": r.probe,
            "rate": _rounded(r.rate.value),
            "low": _rounded(r.rate.low),
            "high": _rounded(r.rate.high),
            "n": r.n,
            "unscored": r.unscored,
            "verdict": r.verdict,
            "question": r.question,
        }
        for r in results
    ]
    print_rows(rows, as_json=args.json)
    return 1 if any(r.verdict == "fail" for r in results) else 0


def _spec(name: str, settings: list[str]) -> JudgeSpec:
    """The judge by the name of its folder: `lc-bertscore` is lc of bertscore; options are of the outermost judge."""
    from chexalign.recipe import JudgeSpec
    from chexalign.registry import registry

    outer, _, inner = name.partition("-")
    wraps = bool(inner) and name not in registry("judges").names()
    of = _spec(inner, []) if wraps else None
    return JudgeSpec(name=outer if wraps else name, of=of, options=dict(_option(setting) for setting in settings))


def _check_servers(spec: JudgeSpec, *, of_openi: bool) -> None:
    """Raises: UserError for reports of unknown license and a judge that would send them to a server of others."""
    from chexalign.data.openi import LICENSE
    from chexalign.data.table import NO_LICENSE
    from chexalign.judges.stage import servers_of
    from chexalign.privacy import check_license

    for server in servers_of(spec):
        license_ = LICENSE if of_openi else NO_LICENSE
        check_license(server.url, license_, endpoint_is_mine=server.endpoint_is_mine)


def _option(setting: str) -> tuple[str, Any]:
    name, equals, value = setting.partition("=")
    if not equals:
        raise UserError(
            f"--set {setting}", "an option of the judge has a name and a value", "for example --set batch_size=32"
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _from_file(path: Path) -> dict[str, str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--reports {path} cannot be read ({type(error).__name__})",
            "it must be a text file in UTF-8 with one report in each line",
            "give another file, or leave --reports out",
        ) from error
    found = {str(i): line for i, line in enumerate(lines) if line}
    if not found:
        raise UserError(f"--reports {path} has no text", "a probe edits reports", "give a file with one in each line")
    return found


def _openi() -> dict[str, str]:
    """Findings of OpenI by report, in an order drawn once; a text that occurs again is left out."""
    from chexalign.data.openi import (
        ARCHIVE_NAME,
        HEADERS_NAME,
        find_packaged,
        read_reports,
        read_views,
        strip_deidentified,
        usable,
    )
    from chexalign.ids import keyed_seed

    reports, _ = usable(read_reports(find_packaged(ARCHIVE_NAME), read_views(find_packaged(HEADERS_NAME))))
    first = {strip_deidentified(report.findings or ""): report.id for report in reversed(reports)}
    return {first[text]: text for text in sorted(first, key=lambda text: keyed_seed("probe", first[text])) if text}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
