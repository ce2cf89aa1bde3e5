"""The OpenI reader, on archives written here; the collection itself is read only where its package is installed."""

import gzip
import importlib.util
import io
import tarfile
from collections import Counter

import pytest

from chexalign.data import openi
from chexalign.data.base import assign_splits
from chexalign.data.openi import OpenIReport, find_packaged, read_reports, read_views, strip_deidentified, usable
from chexalign.errors import UserError

VIEWS = {"CXR1_IM-1": "frontal", "CXR1_IM-2": "lateral"}


def xml(number, *, findings="The lungs are clear.", images=("1", "2"), codes=("normal",), indication="Cough"):
    sections = {"COMPARISON": "None.", "INDICATION": indication, "FINDINGS": findings, "IMPRESSION": "Normal chest."}
    texts = "".join(f'<AbstractText Label="{k}">{v}</AbstractText>' for k, v in sections.items() if v is not None)
    majors = "".join(f"<major>{code}</major>" for code in codes)
    parents = "".join(f'<parentImage id="CXR{number}_IM-{i}"><figureId>F1</figureId></parentImage>' for i in images)
    article = f"<MedlineCitation><Article><Abstract>{texts}</Abstract></Article></MedlineCitation>"
    return f'<eCitation><uId id="CXR{number}"/>{article}<MeSH>{majors}</MeSH>{parents}</eCitation>'


def write_archive(path, reports):
    """A tar.gz of the reports, its content fixed by them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for i, report in enumerate(reports):
            info = tarfile.TarInfo(f"ecgen-radiology/{i}.xml")
            info.size = len(report.encode())
            tar.addfile(info, io.BytesIO(report.encode()))
        info = tarfile.TarInfo("ecgen-radiology/readme.txt")
        tar.addfile(info)
    path.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    return path


FOUR = [
    xml(10, codes=("Cardiomegaly/mild", " Opacity/lung/base/left ", "")),
    xml(2, findings=None),
    xml(1, images=()),
    xml(3, codes=("No Indexing",), findings="\n  Heart   size\tnormal. &lt;5 mm  "),
]


@pytest.fixture
def archive(tmp_path):
    return write_archive(tmp_path / "reports.tgz", FOUR)


def test_reports_come_in_the_order_of_their_number(archive):
    assert [r.id for r in read_reports(archive, {})] == ["CXR1", "CXR2", "CXR3", "CXR10"]


def test_the_parts_of_a_report_are_read(tmp_path):
    path = write_archive(tmp_path / "a.tgz", [xml(1, codes=("Cardiomegaly/mild", " Opacity/lung ", ""))])
    assert read_reports(path, VIEWS) == [
        OpenIReport(
            id="CXR1",
            indication="Cough",
            findings="The lungs are clear.",
            impression="Normal chest.",
            codes=("Cardiomegaly/mild", "Opacity/lung"),
            images=(("CXR1_IM-1", "frontal"), ("CXR1_IM-2", "lateral")),
        )
    ]


def test_sections_that_are_absent_or_blank_are_none(tmp_path):
    path = write_archive(tmp_path / "a.tgz", [xml(1, findings=" \n ", indication=None), xml(2, findings="")])
    first, second = read_reports(path, {})
    assert first.findings is first.indication is second.findings is None
    assert {view for _, view in first.images} == {"unknown"}


def test_blanks_are_collapsed(archive):
    assert read_reports(archive, {})[2].findings == "Heart size normal. <5 mm"


def test_each_report_that_is_dropped_has_a_reason(archive):
    kept, dropped = usable(read_reports(archive, {}))
    assert [r.id for r in kept] == ["CXR10"]
    assert dropped == {"no_findings_section": 1, "no_parent_image": 1, "not_indexed": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("XXXX is normal.", "is normal."),
        ("The heart XXXX is normal.", "The heart is normal."),
        ("Unchanged since XXXX.", "Unchanged since."),
        ("Seen on XXXX, XXXX and XXXX.", "Seen on, and."),
        ("XXXX. The lungs are clear.", "The lungs are clear."),
        ("XXXX, XXXX", ""),
        ("XXXX", ""),
        ("the 4XXXX rib", "the 4 rib"),
        ("XXXXXXXX rib", "rib"),
        ("  no   change ;", "no change"),
        ("XXX and xxxx stay", "XXX and xxxx stay"),
        ("", ""),
    ],
)
def test_deidentified_words_are_stripped(text, expected):
    assert strip_deidentified(text) == expected
    assert strip_deidentified(strip_deidentified(text)) == strip_deidentified(text)


def test_every_flipped_byte_that_matters_is_found(tmp_path):
    """Without the checksum at the end, damage in the middle would lose reports or change their words in silence."""
    path = write_archive(tmp_path / "a.tgz", [xml(i, findings=f"Nodule of {i * 37} mm.") for i in range(1, 9)])
    whole, expected = path.read_bytes(), read_reports(path, {})
    for position in range(10, len(whole), 3):  # behind the header of gzip, whose clock and flags say nothing
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with pytest.raises(UserError, match="cannot be read"):
            read_reports(path, {})
    path.write_bytes(whole)
    assert read_reports(path, {}) == expected


@pytest.mark.parametrize("keep", [0, 1, 30, 0.5, 0.99])
def test_a_truncated_archive_is_told(archive, keep):
    data = archive.read_bytes()
    archive.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(UserError, match="cannot be read"):
        read_reports(archive, {})


@pytest.mark.parametrize("report", ["<eCitation>", "not xml", "<eCitation/>", '<eCitation><uId id=""/></eCitation>'])
def test_a_report_that_is_none_is_told(tmp_path, report):
    with pytest.raises(UserError, match="cannot be read"):
        read_reports(write_archive(tmp_path / "a.tgz", [xml(1), report]), {})


def test_an_archive_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.tgz"):
        read_reports(tmp_path / "nowhere.tgz", {})


def test_an_archive_without_reports_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no report"):
        read_reports(write_archive(tmp_path / "a.tgz", []), {})


def test_errors_hold_no_report_text(tmp_path):
    path = write_archive(tmp_path / "a.tgz", [xml(1, findings="Secret words") + "</broken>"])
    with pytest.raises(UserError) as caught:
        read_reports(path, {})
    assert "Secret" not in str(caught.value)


def test_without_the_package_the_user_is_told_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        find_packaged(openi.ARCHIVE_NAME)
    assert "pip install --no-deps torchxrayvision==" in caught.value.fix
    assert openi.ARCHIVE_NAME in caught.value.what


def write_headers(path, rows):
    lines = ["imageid,View Position,Other", *(f"{i},{view},x" for i, view in rows)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_views_are_read(tmp_path):
    rows = [("a", "PA"), ("b", "AP"), ("c", "LL"), ("d", "RL"), ("e", " lateral "), ("f", ""), ("g", "LARGE LATERAL")]
    found = read_views(write_headers(tmp_path / "h.csv.gz", rows))
    assert found == dict.fromkeys("ab", "frontal") | dict.fromkeys("cde", "lateral") | dict.fromkeys("fg", "unknown")


def test_damaged_headers_are_told(tmp_path):
    path = write_headers(tmp_path / "h.csv.gz", [("a", "PA")])
    data = path.read_bytes()
    for damaged in (data[:-9], b"imageid\na\n", gzip.compress(b"id,view\na,PA\n")):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read"):
            read_views(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_views(tmp_path / "nowhere")


def test_splits_have_exactly_their_sizes():
    ids = [f"CXR{i}" for i in range(100)]
    sizes = {"sft": 40, "prefer": 30, "test": 20}
    splits = assign_splits(ids, sizes, seed=1)
    assert Counter(splits.values()) == sizes
    assert set(splits) <= set(ids)


def test_splits_are_fixed_by_the_seed_and_the_ids_alone():
    ids = [f"CXR{i}" for i in range(100)]
    sizes = {"sft": 40, "test": 60}
    splits = assign_splits(ids, sizes, seed=1)
    assert assign_splits(ids[::-1], sizes, seed=1) == splits
    assert assign_splits(ids, sizes, seed=2) != splits


def test_more_ids_move_few_of_the_others():
    """An id's place depends on its own hash, so a study more or less shifts borders and shuffles nothing."""
    ids = [f"CXR{i}" for i in range(200)]
    before = assign_splits(ids, {"sft": 100, "test": 100}, seed=1)
    after = assign_splits([*ids[:-1], "CXR999"], {"sft": 100, "test": 100}, seed=1)
    assert sum(before[i] != after[i] for i in ids[:-1]) <= 1


def test_splits_that_are_too_large_are_told():
    with pytest.raises(UserError, match="asks for 12 studies: sft 8, test 4") as caught:
        assign_splits([f"CXR{i}" for i in range(10)], {"sft": 8, "test": 4}, seed=1)
    assert "10 usable" in caught.value.why
    assert "data.split.sft=6" in caught.value.fix


@pytest.mark.skipif(importlib.util.find_spec("torchxrayvision") is None, reason="needs the package torchxrayvision")
def test_the_collection_has_the_reports_that_are_known():
    reports = read_reports(find_packaged(openi.ARCHIVE_NAME), read_views(find_packaged(openi.HEADERS_NAME)))
    kept, dropped = usable(reports)
    assert (len(reports), len(kept)) == (3955, 3250)
    assert dropped == {"no_findings_section": 530, "no_parent_image": 88, "not_indexed": 87}
    assert len({r.id for r in reports}) == 3955
    views = Counter(view for r in reports for _, view in r.images)
    assert views["frontal"] > views["lateral"] > 0
    texts = [strip_deidentified(r.findings) for r in kept]
    assert all(text and "XXXX" not in text for text in texts)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Size &lt; 5 mm &amp; smooth.", "Size < 5 mm & smooth."),
        ("Clear.&amp;gt;] Normal&nbsp;heart, 5&micro;m &#233;.", "Clear.>] Normal heart, 5\N{MICRO SIGN}m \u00e9."),
        ("Described&lt;BR&gt;before.", "Described before."),
        ("The <b>lungs</b> are clear.<!-- a note -->", "The lungs are clear."),
        ("<![CDATA[Size < 5 mm.]]>", "Size < 5 mm."),
        ("Clear\u00a0lungs.\r\n", "Clear lungs."),
    ],
)
def test_entities_and_tags_become_text(tmp_path, written, read):
    path = write_archive(tmp_path / "a.tgz", [xml(1, findings=written)])
    assert read_reports(path, {})[0].findings == read


def test_a_report_without_mesh_and_with_many_or_doubled_images_is_read(tmp_path):
    text = xml(1, images=("1", "2", "3", "1", "2")).replace("<MeSH><major>normal</major></MeSH>", "")
    report = read_reports(write_archive(tmp_path / "a.tgz", [text]), {})[0]
    assert report.codes == ()
    assert [name for name, _ in report.images] == ["CXR1_IM-1", "CXR1_IM-2", "CXR1_IM-3"]
    assert usable([report])[0] == [report]


def test_of_two_reports_of_one_id_the_first_is_kept_and_the_other_counted(tmp_path):
    path = write_archive(tmp_path / "a.tgz", [xml(1), xml(1, findings="Another text."), xml(2)])
    kept, dropped = usable(read_reports(path, {}))
    assert [r.findings for r in kept] == ["The lungs are clear."] * 2
    assert dropped == {"id_of_another_study": 1}


def test_a_report_that_is_none_is_named(tmp_path):
    (tmp_path / "ecgen").mkdir()
    (tmp_path / "ecgen/1.xml").write_text(xml(1))
    (tmp_path / "ecgen/2.xml").write_text(xml(2)[:-20])
    with pytest.raises(UserError, match=r"2\.xml cannot be read"):
        read_reports(tmp_path / "ecgen", {})


@pytest.mark.skipif(importlib.util.find_spec("torchxrayvision") is None, reason="needs the package torchxrayvision")
def test_sections_and_images_of_the_collection_are_those_that_are_known():
    reports = read_reports(find_packaged(openi.ARCHIVE_NAME), {})
    there = {name: sum(getattr(r, name) is not None for r in reports) for name in ("findings", "impression")}
    assert there == {"findings": 3425, "impression": 3921}
    assert Counter(len(r.images) for r in reports) == {0: 104, 1: 446, 2: 3208, 3: 181, 4: 15, 5: 1}
    texts = [text for r in reports for text in (r.findings, r.impression, r.indication) if text]
    assert not any("&gt;" in text or "<BR>" in text for text in texts)
