"""What a comparison is given from outside is read or refused, and what it writes keeps its form."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chexalign.compare.latex import escaped as for_latex
from chexalign.compare.markdown import escaped as for_markdown
from chexalign.compare.quoted import read_quoted
from chexalign.errors import UserError

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
YAML = st.one_of(
    st.text(),
    st.text(alphabet="- {}[]:,'\"&*!|>%@`#\n ax1.~"),
    st.sampled_from(
        ["- 2020-13-45", "- {system: a, source: b, data: c, values: {d: .nan}}", "[" * 3000, "- !!python/x y"]
    ),
)


@same_folder
@given(content=st.one_of(st.binary(), YAML.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_any_file_is_a_list_of_systems_or_a_user_s_error(tmp_path, content):
    path = tmp_path / "quoted.yaml"
    path.write_bytes(content)
    told = None
    try:
        assert isinstance(read_quoted(str(path)), list)
    except UserError as error:
        told = str(error)
    assert told is None or len(told.split("\n")) == 3


@given(text=st.text())
@settings(max_examples=100, deadline=None)
def test_latex_has_no_bare_sign(text):
    found = for_latex(text)
    plain = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\$-\$", "", found)
    assert not set(plain) & set("&%$#_{}~^\\<>|\n")


@given(text=st.text())
@settings(max_examples=100, deadline=None)
def test_markdown_has_no_bare_bar_or_tag(text):
    found = for_markdown(text)
    assert not re.search(r"(?<!\\)(\\\\)*\|", found)
    assert "<" not in found
    assert "\n" not in found


def test_a_number_that_is_none_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("- {system: a, source: b, data: c, values: {d: .nan}}")
    with pytest.raises(UserError, match="finite"):
        read_quoted(str(path))
