"""What a server was asked for is added up over the parts, those of earlier calls included."""

from chexalign.sample.usage import add_up, in_words, with_usage
from chexalign.spread import PartResult
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest, Table
from chexalign.types import Candidate

KEY = StageKey("candidates", {}, {}, 0)


class Served:
    def setup(self):
        pass

    def part(self, index):
        row = Candidate(f"c{index}", f"p{index}", "Clear.", 3, None, "stop", 0, "endpoint m")
        usage = {"requests": 1 + index, "answers": 1, "prompt_tokens": 10, "completion_tokens": 3, "cost": 0.5}
        return PartResult([row], extra={"usage": usage | ({"failed": {"429": 2}} if index else {})})


def test_the_account_of_all_parts_stands_in_the_manifest(tmp_path):
    table = Table(tmp_path / "candidates", Candidate)
    partial = with_usage(table, run_parts(table, Served(), key=KEY, n_parts=3, only=2))
    assert partial.extra["usage"]["requests"] == 3
    assert Manifest.load(table.folder) is None
    whole = with_usage(table, run_parts(table, Served(), key=KEY, n_parts=3))
    assert whole.extra["usage"] == {
        "requests": 6,
        "answers": 3,
        "prompt_tokens": 30,
        "completion_tokens": 9,
        "cost": 1.5,
        "failed": {"429": 4},
    }
    assert Manifest.load(table.folder) == whole
    assert with_usage(table, whole) is whole
    assert in_words(whole.extra["usage"]) == (
        "server: 6 requests, 30 tokens read, 9 written, tried again: 429 4, cost 1.50"
    )


def test_an_account_without_failures_and_prices_is_short():
    usage = add_up([{"requests": 1, "prompt_tokens": 2, "completion_tokens": 3}])
    assert in_words(usage) == "server: 1 requests, 2 tokens read, 3 written"
