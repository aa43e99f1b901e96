"""The committed table of families against measurements: a part of its rows is measured again in each run."""

from pathlib import Path

import pytest

from layerscope.models.supported_families import supported_families
from tests.families.census import measure, read_table

LEAST = 300
"""Language model types with capture and schedules."""

# Of each kind of cache, backend and refusal, one; ``python -m tests.families.census`` measures all.
AGAIN = (
    "albert",
    "bamba",
    "canine",
    "deepseek_v4",
    "granitemoehybrid",
    "lfm2",
    "minimax",
    "nanochat",
    "openai-gpt",
    "qwen3_vl",
    "recurrent_gemma",
    "rwkv",
    "squeezebert",
    "t5gemma",
    "xlnet",
)


@pytest.mark.parametrize("family", AGAIN)
def test_a_row_is_what_is_measured(family: str) -> None:
    rows = [row for row in read_table() if row.family.partition(":")[0] == family]
    assert measure(family) == rows


def test_the_table_has_enough_families() -> None:
    works = {row.family.partition(":")[0] for row in read_table() if row.hooks == row.schedules == "yes"}
    assert len(works) >= LEAST
    assert {entry.family for entry in supported_families()} == {row.family for row in read_table()}


def test_the_readme_has_the_numbers_of_the_table() -> None:
    types = {row.family.partition(":")[0] for row in read_table()}
    works = {row.family.partition(":")[0] for row in read_table() if row.hooks == row.schedules == "yes"}
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"{len(works)} of {len(types)} language model types work" in readme


def test_what_does_not_work_has_a_reason_in_words() -> None:
    for row in read_table():
        for words in (row.hooks, row.schedules, row.nnsight, row.transformer_lens):
            assert words == "yes" or " " in words or (words == "" and row.hooks != "yes"), row
        if "TransformerLens" in row.transformer_lens or "nnsight" in row.nnsight:
            assert "--backend hooks" in row.transformer_lens + row.nnsight
