"""Each wanted family, from a folder and from memory: captured, analysed, scheduled, swept, generated and resumed.

The oracles are hooks on the module's own blocks, at paths written down by hand, and the model's own recomputation.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls
from layerscope.models.model import Model
from layerscope.store.writer import CaptureWriter
from tests.evaluation.tiny_tasks import CHOICES, CLOZE, use_tiny_tasks
from tests.families.oracles import run_by_hand, states_by_hand
from tests.families.tiny_configs import DEPTH
from tests.families.tiny_modules import random_module
from tests.families.wanted import DECODERS, WANTED, Wanted
from tests.tokenizers import word_tokenizer

TEXTS = ["w5 w6 w7 w8 w9 w10 w11 w12 w13", "w20 w21 w22", "w30 w31 w32 w33 w34 w35", "w40 w41 w42 w43 w44 w45 w46"]
ROUNDING = 2e-5  # texts of a batch are padded; the oracle runs each alone
STAGES = {
    "identity": [[0], [1], [2], [3]],
    "skip:0": [[0]],
    "reverse:0": [[0], [3], [2], [1]],
    "parallel:0": [[0], [1, 2, 3]],
    "looped_parallel:0:loops=2": [[0], [1, 2, 3], [1, 2, 3]],
    "repeat_each:0-3:times=2": [[0], [0], [1], [1], [2], [2], [3], [3]],
    "3 (0|2) 1*2": [[3], [0, 2], [1], [1]],
}
NEW = 6

each_wanted = pytest.mark.parametrize("wanted", WANTED, ids=[one.family for one in WANTED])
each_decoder = pytest.mark.parametrize("wanted", DECODERS, ids=[one.family for one in DECODERS])


@dataclass(frozen=True)
class Subject:
    """A module, the model loaded of it, and its parts by hand."""

    whole: nn.Module
    model: Model
    blocks: list[nn.Module]
    norm: nn.Module | None


@functools.cache
def subject(wanted: Wanted) -> Subject:
    family, _, stack = wanted.family.partition(":")
    module = random_module(family)
    model = ls.load_model(module, tokenizer=word_tokenizer(), stack=stack or None)
    norm = None if wanted.final_norm is None else module.get_submodule(wanted.final_norm)
    return Subject(module, model, list(module.get_submodule(wanted.blocks).children()), norm)


def ids_of(text: str) -> torch.Tensor:
    return torch.tensor([[int(word[1:]) + 2 for word in text.split()]])


def off(got: Any, wanted: torch.Tensor) -> float:
    """Return the largest difference relative to the largest value."""
    return float((torch.as_tensor(np.asarray(got)) - wanted).abs().max() / wanted.abs().max())


@each_wanted
def test_states_are_what_hooks_hear(wanted: Wanted, tmp_path: Path) -> None:
    """From memory and from a folder, with the final norm; then analysed."""
    one = subject(wanted)
    final_norm = one.norm is not None
    ls.capture(one.model, TEXTS, tmp_path / "memory.h5", final_norm=final_norm)
    one.whole.save_pretrained(tmp_path / "folder")
    word_tokenizer().save_pretrained(tmp_path / "folder")
    loaded = ls.load_model(tmp_path / "folder", stack=one.model.stack)
    ls.capture(loaded, TEXTS, tmp_path / "folder.h5", final_norm=final_norm)
    here, there = ls.open_capture(tmp_path / "memory.h5"), ls.open_capture(tmp_path / "folder.h5")
    np.testing.assert_array_equal(here.hidden.values, there.hidden.values)
    assert here.sizes["layer"] == DEPTH + 1
    start = 0
    for text in TEXTS:
        ids = ids_of(text)
        states = states_by_hand(one.model.module, one.blocks, one.norm, input_ids=ids)
        rows = slice(start, start + ids.shape[1])
        start = rows.stop
        for layer in range(DEPTH + 1):
            assert off(here.hidden.isel(layer=layer, token=rows), states[layer][0]) < ROUNDING, layer
        if final_norm:
            assert off(here.final_norm.isel(token=rows), states[-1][0]) < ROUNDING
    result = ls.analyze(here, measures=["cosine", "norm"])
    assert np.isfinite(result["cosine"].values).all()


@each_wanted
def test_schedules_are_the_blocks_run_by_hand(wanted: Wanted) -> None:
    one = subject(wanted)
    ids = ids_of(TEXTS[0])
    cached = {"use_cache": False} if one.model.architecture.causal else {}
    outputs = []
    for spec, stages in STAGES.items():
        expected = run_by_hand(one.model.module, one.blocks, stages, input_ids=ids, **cached)
        with ls.scheduled(one.model, spec), torch.no_grad():
            got = one.model.module(input_ids=ids)[0]
        assert off(got, expected) < ROUNDING, spec
        outputs.append(expected)
    with torch.no_grad():
        assert torch.equal(outputs[0], one.model.module(input_ids=ids, **cached)[0])
    assert all(off(outputs[0], other) > 1e-3 for other in outputs[1:])


@each_decoder
def test_cached_generation_is_recomputation(wanted: Wanted) -> None:
    """Of two texts, the shorter padded on the left where the model masks padding."""
    module = subject(wanted).model.module
    ids = torch.cat([ids_of(TEXTS[0]), ids_of("w50 w51 w52 w53 w54 w55 w56 w57 w58")])
    for spec in STAGES:
        found = []
        for use_cache in (True, False):
            with ls.scheduled(subject(wanted).model, spec), torch.no_grad():
                found.append(
                    module.generate(
                        input_ids=ids,
                        attention_mask=torch.ones_like(ids),
                        max_new_tokens=NEW,
                        do_sample=False,
                        use_cache=use_cache,
                        output_logits=True,
                        return_dict_in_generate=True,
                    )
                )
        cached, anew = found
        assert torch.equal(cached.sequences, anew.sequences), spec
        assert off(torch.stack(cached.logits), torch.stack(anew.logits)) < 3e-5, spec


@pytest.fixture
def _tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_tasks(monkeypatch)


@pytest.mark.usefixtures("_tasks")
@each_decoder
def test_sweeps_score_what_the_model_says(wanted: Wanted) -> None:
    """Contexts with several continuations run once; the scores are those of whole texts, each alone."""
    one = subject(wanted)
    specs = [spec for spec in STAGES if spec != "identity"]
    swept = ls.sweep(one.model, ["test:cloze", "test:choices"], schedule=specs, bootstrap=10, limit=3)
    for task in (CLOZE, CHOICES):
        for spec in ("identity", "3 (0|2) 1*2"):
            run = swept.sel(task=task.name).isel(run=list(swept.schedule.values.astype(str)).index(spec))
            for number, example in enumerate(task.examples[:3]):
                context = ids_of(example.context).shape[1]
                whole = ids_of(example.context + example.choices[example.gold])
                logits = run_by_hand(one.model.module, one.blocks, STAGES[spec], input_ids=whole, use_cache=False)
                expected = torch.nn.functional.cross_entropy(logits[0, context - 1 : -1], whole[0, context:])
                assert float(run.example_loss[number]) == pytest.approx(float(expected), rel=1e-4), (task.name, spec)


@each_wanted
def test_a_capture_resumes(wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = subject(wanted)
    whole, part = tmp_path / "whole.h5", tmp_path / "part.h5"
    ls.capture(one.model, TEXTS, whole, batch_tokens=1)
    update = CaptureWriter.update

    def stop(writer: CaptureWriter, rows: Any) -> None:
        if writer.committed_rows:
            raise KeyboardInterrupt
        update(writer, rows)
        writer.commit()

    monkeypatch.setattr(CaptureWriter, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        ls.capture(one.model, TEXTS, part, batch_tokens=1)
    monkeypatch.setattr(CaptureWriter, "update", update)
    report = ls.capture(one.model, TEXTS, part, batch_tokens=1, resume=True)
    assert report.rows == sum(len(text.split()) for text in TEXTS)
    np.testing.assert_array_equal(ls.open_capture(whole).hidden.values, ls.open_capture(part).hidden.values)
