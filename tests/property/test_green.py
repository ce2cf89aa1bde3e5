"""What holds of every answer in GREEN's format, and of every text that is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chexalign.judges.green_parse import SECTIONS, green_compat, parse_green

LETTERS = "abcdef"
PIECES = st.sampled_from(
    [
        *(f"[{title}]:" for title in SECTIONS.values()),
        "\n",
        "\n\n",
        "(a) kind: 1. x",
        "(b) kind: 2",
        "No errors.",
        "3. A; B",
    ]
)
counts = st.dictionaries(st.sampled_from(LETTERS), st.integers(0, 99), min_size=1)


def section(title: str, found: dict[str, int], order: list[str]) -> str:
    lines = [f"({letter}) kind: {found[letter]}. first; second" for letter in order if letter in found]
    return f"[{title}]:\n" + "\n".join(lines) + "\n\n"


@given(st.lists(PIECES | st.text(max_size=12)).map("".join))
def test_any_text_is_read_without_an_error(text):
    parsed, compat = parse_green(text), green_compat(text)
    assert (parsed.value is None) == (parsed.reason is not None)
    assert parsed.value is None or 0 <= parsed.value <= 1
    assert 0 <= compat.value <= 1


@given(counts, counts, st.integers(0, 99), st.permutations(LETTERS), st.permutations(list(SECTIONS)))
def test_well_formed_answers_are_read_as_they_are_meant_and_as_the_official_code_does(
    significant, insignificant, matched, letters, order
):
    sections = {
        "significant": section(SECTIONS["significant"], significant, letters),
        "insignificant": section(SECTIONS["insignificant"], insignificant, letters),
        "matched": f"[{SECTIONS['matched']}]:\n{matched}. one; two\n\n",
    }
    answer = "[Explanation]:\nShort.\n\n" + "".join(sections[name] for name in order)
    parsed, compat = parse_green(answer), green_compat(answer)
    assert parsed.matched == compat.matched == matched
    for name, given_ in (("significant", significant), ("insignificant", insignificant)):
        expected = tuple(given_.get(letter, 0) for letter in LETTERS)
        assert tuple(getattr(parsed, name)[letter] for letter in LETTERS) == getattr(compat, name) == expected
    errors = sum(significant.values())
    assert parsed.value == compat.value == (matched / (matched + errors) if matched else 0)


@given(counts, st.integers(1, 99), st.sampled_from(LETTERS))
def test_a_further_significant_error_never_helps(significant, matched, letter):
    def value(found):
        text = section(SECTIONS["significant"], found, list(LETTERS))
        return parse_green(
            text + f"[{SECTIONS['insignificant']}]:\nNo errors.\n[{SECTIONS['matched']}]:\n{matched}. x"
        ).value

    more = {**significant, letter: significant.get(letter, 0) + 1}
    assert value(more) < value(significant)
