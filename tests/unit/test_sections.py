"""Sections of hand-made reports, one for every awkward kind."""

import importlib.util
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexalign.data import openi
from chexalign.data.sections import Sections, read_sections

PLAIN = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old with cough  // pneumonia?

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  ___

 FINDINGS:

 The lungs are clear.  The heart is of
 normal size.

 IMPRESSION:

 No acute process.
"""


def report(*sections: tuple[str, str]) -> str:
    """A report of MIMIC's look: one blank before each line, headings with a colon."""
    return "\n FINAL REPORT\n" + "".join(f" {name}:  {text}\n \n" for name, text in sections)


def test_a_plain_report():
    assert read_sections(PLAIN) == Sections(
        findings="The lungs are clear. The heart is of normal size.",
        impression="No acute process.",
        indication="___ year old with cough // pneumonia?",
        comparison="___",
    )


@pytest.mark.parametrize(
    "heading",
    [
        *("FINDINGS", "FINDING", "FINDNGS", "Findings", "REPORT", "CHEST, TWO VIEWS", "PA AND LATERAL VIEWS"),
        *("AP CHEST", "PORTABLE CHEST RADIOGRAPH", "SINGLE FRONTAL VIEW OF THE CHEST", "CHEST FINDINGS"),
        "CHEST PA AND LATERAL RADIOGRAPH",
    ],
)
def test_headings_of_the_findings(heading):
    assert read_sections(report((heading, "Clear lungs."), ("IMPRESSION", "Normal."))).findings == "Clear lungs."


@pytest.mark.parametrize("heading", ["IMPRESSION", "CONCLUSION", "IMPRESSON", "FINDINGS/IMPRESSION", "OPINION", "IMP"])
def test_headings_of_the_impression(heading):
    found = read_sections(report(("INDICATION", "Cough."), (heading, "Normal chest.")))
    assert (found.impression, found.findings) == ("Normal chest.", None)


@pytest.mark.parametrize(
    "heading",
    ["INDICATION", "REASON FOR EXAM", "REASON FOR THIS EXAMINATION", "HISTORY", "CLINICAL HISTORY", "Indication"],
)
def test_headings_of_the_indication(heading):
    assert read_sections(report((heading, "Fever."), ("FINDINGS", "Clear."))).indication == "Fever."


def test_an_indication_goes_before_a_history():
    for order in (("INDICATION", "HISTORY"), ("HISTORY", "INDICATION")):
        texts = {"INDICATION": "Fever.", "HISTORY": "Smoker."}
        assert read_sections(report(*((name, texts[name]) for name in order))).indication == "Fever."


def test_of_two_sections_of_one_name_the_last_counts():
    text = report(("FINDINGS", "Small effusion."), ("IMPRESSION", "Effusion."), ("FINDINGS", "No effusion."))
    assert read_sections(text).findings == "No effusion."


def test_an_empty_section_is_none_and_replaces_nothing():
    text = report(("FINDINGS", "Clear."), ("COMPARISON", ""), ("FINDINGS", ""))
    assert (read_sections(text).findings, read_sections(text).comparison) == ("Clear.", None)


def test_parts_of_the_body_stay_in_their_section():
    text = report(
        ("FINDINGS", ""),
        ("LUNGS", "Clear."),
        ("LINES AND TUBES", "None."),
        ("CHEST WALL", "Intact."),
        ("IMPRESSION", "Normal."),
    )
    assert read_sections(text).findings == "LUNGS: Clear. LINES AND TUBES: None. CHEST WALL: Intact."


@pytest.mark.parametrize("heading", ["NOTIFICATION", "RECOMMENDATION(S)", "WET READ", "ADDENDUM", "SOMETHING ELSE"])
def test_other_headings_end_a_section(heading):
    text = report(("FINDINGS", "Clear."), ("IMPRESSION", "Normal."), (heading, "Told to the team by phone."))
    assert read_sections(text).impression == "Normal."


def test_an_addendum_above_the_report():
    text = " ADDENDUM  A line was missed.\n ______________________________\n" + PLAIN
    assert read_sections(text) == read_sections(PLAIN)


def test_times_ratios_and_lists_are_no_headings():
    text = report(("FINDINGS", "Seen at\n AT 8:30 AM by phone.\n 1. Clear.\n Ratio 2: 1."))
    assert read_sections(text).findings == "Seen at AT 8:30 AM by phone. 1. Clear. Ratio 2: 1."


@pytest.mark.parametrize("text", ["FINDINGS:Clear lungs.", "FINDINGS :  Clear lungs.", "\tFINDINGS:\tClear lungs."])
def test_blanks_around_the_colon_do_not_matter(text):
    assert read_sections(text).findings == "Clear lungs."


def test_lines_may_end_as_on_windows():
    assert read_sections(PLAIN.replace("\n", "\r\n")) == read_sections(PLAIN)


@pytest.mark.parametrize("text", ["", "\n\n", "No headings at all.", "FINAL REPORT\n\n The lungs are clear."])
def test_without_headings_there_are_no_sections(text):
    assert read_sections(text) == Sections()


def test_a_report_of_an_impression_alone():
    assert read_sections(report(("IMPRESSION", "Normal."))) == Sections(impression="Normal.")


@pytest.mark.parametrize(
    "text",
    [
        " findings:  Clear lungs.\n\n impression:  Normal.\n",
        " FINDINGS\n\n Clear lungs.\n\n IMPRESSION\n\n Normal.\n",
        "FINDINGS: Clear lungs. IMPRESSION: Normal.",
        "**FINDINGS:** Clear lungs.\n**IMPRESSION**: Normal.",
        "## Findings:\nClear lungs.\n## Impression:\nNormal.",
        "\ufeffFINDINGS:\u00a0Clear\u00a0lungs.\n\u00a0IMPRESSION\u00a0: Normal.",
        "FINDINGS: Clear lungs.\rIMPRESSION: Normal.",
        "FINDINGS: Clear lungs.\x0cIMPRESSION: Normal.",
        "FINDINGS: Clear lungs.\u2028IMPRESSION: Normal.",
        "FINDINGS\uff1a Clear lungs.\nIMPRESSION\uff1a Normal.",
        " FINDINGS (CHEST):  Clear lungs.\n IMPRESSION (FINAL):  Normal.",
        " WET READ: ___ 8:30 AM\n No edema.\n ______\n FINAL REPORT\n FINDINGS: Clear lungs.\n IMPRESSION: Normal.",
        " WET READ:\n FINDINGS: Early.\n FINAL REPORT\n FINDINGS: Clear lungs.\n IMPRESSION: Normal.",
        " FINDINGS: Clear lungs.\n IMPRESSION: Normal.\n\n ADDENDUM\n The line ends in the vein.\n",
        " FINDINGS: Clear lungs.\n IMPRESSION: Normal.\n ________\n ADDENDUM:  A line was missed.\n",
        "\n\n\n\tFINDINGS:\tClear lungs.\n\tIMPRESSION:\tNormal.\n",
    ],
)
def test_awkward_reports_with_the_same_sections(text):
    found = read_sections(text)
    assert (found.findings, found.impression) == ("Clear lungs.", "Normal.")


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        (
            " FINDINGS:\n 1. Clear lungs.\n 2. Heart: normal.\n\n IMPRESSION:\n 1. Normal.",
            "1. Clear lungs. 2. Heart: normal.",
        ),
        (" FINDINGS:\n - Clear lungs.\n * Normal heart.\n", "- Clear lungs. * Normal heart."),
        (" FINDINGS: THE LUNGS ARE CLEAR.\n IMPRESSION: NORMAL.", "THE LUNGS ARE CLEAR."),
        (" FINDINGS: There is a\n history of cancer: none now.", "There is a history of cancer: none now."),
        (" FINDINGS:\n THE LUNGS ARE\n CLEAR. HEART NORMAL.", "THE LUNGS ARE CLEAR. HEART NORMAL."),
        (" FINDINGS - Clear lungs.\n IMPRESSION - Normal.", None),
        (" FINDINGS:\n ______\n\n IMPRESSION: Normal.", None),
        (" AS COMPARED TO THE PREVIOUS RADIOGRAPH, no change.", None),
    ],
)
def test_the_findings_stay_whole_or_there_are_none(text, findings):
    assert read_sections(text).findings == findings


def test_clinical_history_in_one_line_is_one_heading():
    found = read_sections("CLINICAL HISTORY: Cough. COMPARISON: None. FINDINGS: Clear.")
    assert found == Sections(findings="Clear.", indication="Cough.", comparison="None.")


@given(st.text(alphabet="AFGINDS: \n_abc\r1", max_size=200))
def test_any_text_gives_sections_of_one_line(text):
    found = read_sections(text)
    assert all(s is None or (s and s == " ".join(s.split())) for s in (found.findings, found.impression))


@pytest.mark.skipif(not importlib.util.find_spec(openi.PACKAGE), reason=f"{openi.PACKAGE} is not installed")
def test_the_sections_of_every_report_of_openi_are_found_again():
    reports = openi.read_reports(openi.find_packaged(openi.ARCHIVE_NAME), {})
    different = []
    for r in reports:
        parts = [("INDICATION", r.indication), ("FINDINGS", r.findings), ("IMPRESSION", r.impression)]
        lines = [(name, textwrap.wrap(text, 78, break_on_hyphens=False)) for name, text in parts if text]
        found = read_sections(report(*((name, "\n ".join(wrapped)) for name, wrapped in lines)))
        if (found.indication, found.findings, found.impression) != tuple(text for _, text in parts):
            different.append(r.id)
    assert len(reports) == 3955
    assert different == ["CXR2415"]  # whose impression holds a second report, headings and all
