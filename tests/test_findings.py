"""The page of findings: each claim has its parts, the summary agrees with the sections, and every number is quoted."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
RESULTS = ROOT / "analyses" / "results" / "builtin"

VERDICTS = {"holds", "holds in part", "does not hold", "undecided"}
BADGE = re.compile(r'<span class="verdict ([\w-]+)">([^<]+)</span>')
QUOTED = re.compile(r'<b title="[^"]+">[^<]*</b>')

_SUMMARY, _, _REST = PAGE.partition("\n## How to read the numbers")
_CLAIMS, _, _ = _REST.partition("\n## On benchmark files")
_, _, COMMANDS = PAGE.partition("\n## Commands")
SECTIONS = dict(part.split("\n", 1) for part in re.split(r"\n(?:## .*\n+)?### ", _CLAIMS)[1:])


def anchor(title: str) -> str:
    """Return the anchor that the site gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title)).strip("-").lower()


def badge(text: str) -> str:
    """Return the verdict of a text, which has exactly one."""
    ((style, verdict),) = BADGE.findall(text)
    assert verdict in VERDICTS
    assert style == verdict.replace(" ", "-"), "the colour is that of the verdict"
    return verdict


def test_summary_lists_every_claim_with_the_verdict_of_its_section():
    rows = [line for line in _SUMMARY.splitlines() if BADGE.search(line)]
    listed = {re.search(r"\(#([^)]+)\)", row)[1]: badge(row) for row in rows}
    assert listed == {anchor(title): badge(section) for title, section in SECTIONS.items()}
    assert len(listed) > 15


@pytest.mark.parametrize("title", SECTIONS)
def test_claim_has_a_figure_a_table_a_notebook_and_a_command(title):
    section = SECTIONS[title]
    (figure,) = re.findall(r"!\[[^\]]+\]\(notebooks/([^)]+)\)", section)
    assert (RESULTS / figure).exists()
    before, _, _ = section.partition("<details")
    table = [line for line in before.splitlines() if line.startswith("|")]
    assert any(QUOTED.search(line) for line in table)
    (source,) = [line for line in section.splitlines() if line.startswith("[Notebook]")]
    assert (ROOT / "analyses" / re.search(r"\(notebooks/([^)]+)\)", source)[1]).exists()
    for name in re.findall(r"`([^`]+)`", source):
        assert f"`{name}`" in COMMANDS, f"{name} has no command"


@pytest.mark.parametrize("title", SECTIONS)
def test_claim_is_short(title):
    opening = next(line for line in SECTIONS[title].splitlines() if BADGE.search(line))
    assert not QUOTED.search(opening), "the sentence of the verdict has words, the table has numbers"
    for line in SECTIONS[title].splitlines():
        if not line.startswith(("|", "[Notebook]")):
            assert len(QUOTED.findall(line)) <= 4, f"numbers belong into a table: {line}"


def test_no_measured_number_is_typed_by_hand():
    text, _, _ = PAGE.partition("\n## Commands")
    text = QUOTED.sub("", text)
    text = re.sub(r"\]\([^)]*\)|`[^`]*`|§\d\.\d", "", text)
    assert not re.findall(r"\d[.,]\d+", text)
