"""Write what the official GREEN code reads from hand-written answers in its format.

    pip download --no-deps --ignore-requires-python --no-binary :all: green-score==0.0.12
    tar xzf green_score-0.0.12.tar.gz
    python bench/golden_green.py green_score-0.0.12 [--fuzz 100000]

Reads tests/golden/judges/green_answers.json and writes green.json beside it; tests read the JSON files only. The
package pins one version of Python and imports much that its parser does not use, so those modules are stood in for.
`--fuzz` compares instead: random answers, made of the pieces of the format, which both must read alike.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from chexalign.ids import file_sha256
from chexalign.judges.green_parse import SECTIONS, green_compat

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "judges"
NOT_NEEDED = ["datasets", "datasets.distributed", "sentence_transformers", "pandas", "scipy", "scipy.spatial"]
NOT_NEEDED += ["sklearn", "sklearn.metrics", "sklearn.cluster", "tqdm", "torch", "torch.distributed"]
NOT_NEEDED += ["transformers", "transformers.utils", "matplotlib", "matplotlib.pyplot", "numpy"]
PIECES = [*(f"[{title}]:" for title in SECTIONS.values()), "[Explanation]:", "\n", "\n", "\n\n", "\n \n", " ", "    "]
PIECES += [f"({mark}) " for mark in "abcdefg1267"] + ["(a)", "(b)", "No", "Note", "None", "no errors", "kind: ", ": "]
PIECES += [
    "0.",
    "1.",
    "2.",
    "3",
    "12.",
    ": 1.",
    ": 2. first; second",
    ": 4",
    "3. A; B",
    "1.5",
    "٣.",
    "; ",
    "<|assistant|>",
]
PIECES += ["</s>", "<unk>", "[Explanation]:\n    <Explanation>\n", "```", "clear lungs", "[Matched Findings]"]


def official(folder: Path) -> Any:
    """A function from an answer to [score, six significant, six insignificant, matched] by the official code."""
    for name in NOT_NEEDED:
        sys.modules[name] = MagicMock()
    sys.modules["torch"].cuda.is_available.return_value = False
    sys.path.insert(0, str(folder))
    from green_score.green import GREEN
    from green_score.utils import clean_responses

    green = GREEN(model_name=None)

    def read(answer: str) -> list[Any]:
        cleaned = clean_responses(answer)
        matched = green.parse_error_counts(cleaned, SECTIONS["matched"])[0]
        errors = [green.parse_error_counts(cleaned, SECTIONS[name])[1] for name in ("significant", "insignificant")]
        return [green.compute_green(cleaned), *errors, matched]

    return read


def made_up(draw: random.Random) -> str:
    """An answer near the format: sections that may be absent or twice, with lines that may be malformed."""
    text = "".join(draw.choices(PIECES, k=draw.randrange(8))) if draw.random() < 0.3 else ""
    for title in draw.sample(list(SECTIONS.values()), k=3):
        if draw.random() < 0.1:
            continue
        text += f"[{title}]:" + draw.choice(["\n", " ", "\n    ", ""])
        if title == SECTIONS["matched"]:
            text += draw.choice(["3. A; B", "2. C", "10. D", " 1. E", "No.", "4 F", "٣. G"])
        for _ in range(draw.randrange(7)):
            text += draw.choice(["(a) ", "(b) ", "(c) ", "(d) ", "(f) ", "(1) ", "(2) ", "(g) ", "(a)", ""])
            text += draw.choice(["kind: ", "kind:", "two: kinds: ", ""]) + draw.choice(
                ["1.", "0.", "2. X; Y", "3", "2: A"]
            )
            text += draw.choice(["\n", "\n    ", "\n", "\n \n", " "])
        text += draw.choice(["\n\n", "\n\n", "\n"])
        text += "".join(draw.choices(PIECES, k=draw.randrange(4))) if draw.random() < 0.2 else ""
    return text


def ours(answer: str) -> list[Any]:
    found = green_compat(answer)
    return [found.value, list(found.significant), list(found.insignificant), found.matched]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the unpacked green_score-0.0.12")
    parser.add_argument("--fuzz", type=int, default=0, help="random answers to compare")
    args = parser.parse_args()
    read = official(args.folder.resolve())
    if args.fuzz:
        draw = random.Random(5)
        scored = 0
        for _ in range(args.fuzz):
            answer = made_up(draw)
            expected = read(answer)
            assert ours(answer) == expected, (answer, expected, ours(answer))
            scored += expected[0] not in (0, 1)
        print(f"{args.fuzz} answers read alike, {scored} of them scored neither 0 nor 1")
        return
    source = GOLDEN / "green_answers.json"
    answers = json.loads(source.read_text(encoding="utf-8"))
    told = {
        "peer": "green-score 0.0.12, parse_error_counts and compute_green behind clean_responses",
        "input_sha256": file_sha256(source),
        "columns": ["score", "significant a-f", "insignificant a-f", "matched"],
        "answers": {name: read(answer) for name, answer in answers.items()},
    }
    lines = json.dumps(told, indent=1, ensure_ascii=False)
    (GOLDEN / "green.json").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
