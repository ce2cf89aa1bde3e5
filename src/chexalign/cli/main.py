"""The `chexalign` command: finds the verb, imports that verb's module alone, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from chexalign import __version__
from chexalign.errors import UserError
from chexalign.privacy import close_to_others, go_offline, redact_tracebacks

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("chexalign.cli.demo", "run the built-in example and write its report"),
    "data": ("chexalign.cli.data", "make the tables of a collection, check them for leaks, describe them"),
    "run": ("chexalign.cli.run", "run a recipe, every stage that is not done yet"),
    "sft": ("chexalign.cli.sft", "fine-tune the policy on references"),
    "sample": ("chexalign.cli.sample", "draw candidate reports"),
    "judge": ("chexalign.cli.judge", "score the candidates"),
    "pair": ("chexalign.cli.pair", "build preference pairs from the scores"),
    "mine": ("chexalign.cli.mine", "find hard questions, and pair right answers with wrong ones"),
    "import": ("chexalign.cli.import_", "read what the CheXalign authors' scripts have made"),
    "export": ("chexalign.cli.export", "write the pairs for another trainer"),
    "train": ("chexalign.cli.train", "align the policy on the pairs"),
    "evaluate": ("chexalign.cli.evaluate", "compare policies, with intervals"),
    "sweep": ("chexalign.cli.sweep", "search the parameters of training on the validation split"),
    "compare": ("chexalign.cli.compare", "set finished runs side by side, as the tables of the paper"),
    "card": ("chexalign.cli.card", "write model and dataset cards from manifests and estimates"),
    "report": ("chexalign.cli.report", "write report.html"),
    "explain": ("chexalign.cli.explain", "show every value of a recipe and where it came from"),
    "plan": ("chexalign.cli.plan", "check a recipe and show its stages, before anything is spent"),
    "probe": ("chexalign.cli.probe", "find out what a judge can tell apart"),
    "doctor": ("chexalign.cli.doctor", "check this machine and what is installed"),
    "list": ("chexalign.cli.list_", "show datasets, judges, losses and whatever else a recipe can name"),
}
"""verb -> (module with HELP, EXAMPLE, add_arguments(parser) and run(args) -> int, one line of help)"""

OK, FAILURE, INTERRUPTED = 0, 1, 130
_EXAMPLE = "chexalign demo --quick"


class _Parser(argparse.ArgumentParser):
    """Help that opens with a runnable example, and usage errors in three lines."""

    example = ""

    def format_help(self) -> str:
        return f"Example: {self.example}\n\n{super().format_help()}"

    def error(self, message: str) -> NoReturn:
        raise UserError(
            f"{self.prog}: {message}", " ".join(self.format_usage().split()), f"for example: {self.example}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb; the exit code is 0 for success, 1 for failure, 2 for the user's mistake, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    go_offline()
    close_to_others()
    redact_tracebacks()
    try:
        return _dispatch(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nStopped. What is done is kept: the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of stdout, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return OK
    if arguments[0] == "--version":
        print(__version__)
        return OK
    verb, *rest = arguments
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean `chexalign {near[0]}`? " if near else ""
        raise UserError(f"chexalign {verb}", f"the verbs are: {', '.join(VERBS)}", f"{hint}see `chexalign --help`")
    module = importlib.import_module(VERBS[verb][0])
    try:
        return int(module.run(_parser(verb, module).parse_args(rest)))
    except SystemExit as stop:  # argparse has printed the verb's help
        return int(stop.code or 0)


def _parser(verb: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"chexalign {verb}", description=module.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.example = module.EXAMPLE
    module.add_arguments(parser)
    return parser


def _overview() -> str:
    verbs = "\n".join(f"  {verb:<10}{text}" for verb, (_, text) in VERBS.items())
    return (
        f"Example: {_EXAMPLE}\n\n"
        "usage: chexalign VERB ...\n\n"
        "Make chest X-ray vision-language models better with automatic judges. Nothing leaves this machine.\n\n"
        f"verbs:\n{verbs}\n\n"
        "`chexalign VERB --help` opens with an example of that verb.\n"
        "exit codes: 0 done, 1 failed, 2 a mistake in what was given, 130 stopped by Ctrl-C"
    )


if __name__ == "__main__":
    sys.exit(main())
