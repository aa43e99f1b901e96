"""Over training: a real little training run of a tiny GPT-NeoX, captured at its steps."""

import numpy as np
import pytest
import torch
import xarray

import layerscope as ls
from layerscope.cross_model.training import over_training
from layerscope.errors import MeasureError, UsageError
from layerscope.models.loading import wrap_module
from tests.families import tiny_module
from tests.measures.captures import capture, walk
from tests.tokenizers import word_tokenizer

STEPS = [0, 2, 8, 32]
TEXTS = [" ".join(f"w{(start + 3 * place) % 95}" for place in range(12)) for start in range(10)]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Captures of one model while it learns to count by threes."""
    place, tokenizer = tmp_path_factory.mktemp("training"), word_tokenizer()
    module = tiny_module("gpt_neox")
    ids = tokenizer(TEXTS, return_tensors="pt").input_ids
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    paths, losses = [], []
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            paths.append(place / f"{step}.h5")
            ls.capture(wrap_module(module.eval(), tokenizer, name=f"tiny@step{step}"), TEXTS, paths[-1])
        optimizer.zero_grad()
        loss = module.train()(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    return paths


def test_each_layer_against_the_last_checkpoint_and_the_one_before(checkpoints):
    found = over_training([checkpoints[place] for place in (2, 0, 3, 1)], "cka", bootstrap=6)
    assert found["step"].values.tolist() == STEPS
    assert found["model"].values.tolist() == [f"tiny@step{step}" for step in STEPS]
    assert found["cka_to_last"].dims == ("checkpoint", "layer")
    for place, path in enumerate(checkpoints):
        expected = ls.analyze(path, checkpoints[-1], measures=["cka"], bootstrap=6)
        for bound in ("", "_low", "_high"):
            np.testing.assert_allclose(found[f"cka_to_last{bound}"][place], np.diag(expected[f"cka{bound}"]))
        if place:
            before = ls.analyze(checkpoints[place - 1], path, measures=["cka"])["cka"]
            np.testing.assert_allclose(found["cka_to_previous"][place], np.diag(before))
    assert np.isnan(found["cka_to_previous"][0]).all()
    np.testing.assert_allclose(found["cka_to_last"][-1], 1)
    assert (found["cka_to_last"][0, 1:] < found["cka_to_last"][2, 1:]).all()  # training comes closer to its end
    assert (found.attrs["model"], found.attrs["architecture"], found.attrs["measure"]) == ("tiny", "gpt_neox", "cka")


def of(name: str, states: np.ndarray | None = None, **attrs) -> xarray.Dataset:
    return capture(walk(30, 3, 4) if states is None else states, attrs={"model": name, **attrs})


@pytest.mark.parametrize(
    ("captures", "options", "error", "text"),
    [
        ([of("a@step1")], {}, UsageError, "1 capture: give captures of at least two checkpoints"),
        (
            [of("a@step1"), of("a@main")],
            {},
            UsageError,
            r"(?s)'a@main', does not contain a training step.* with --steps",
        ),
        ([of("a@step1"), of("a@step1")], {}, UsageError, "step 1 is given twice"),
        ([of("a"), of("a")], {"steps": [1]}, UsageError, "1 steps for 2 captures"),
        ([of("a@step1"), of("a@step2")], {"measure": "norm"}, UsageError, "norm is a per-layer measure"),
        (
            [of("a@step1", num_blocks=2), of("b@step2", num_blocks=3)],
            {},
            MeasureError,
            "not of one model: num_blocks 2 and 3",
        ),
        (
            [of("a@step1"), of("a@step2", walk(30, 2, 4))],
            {},
            MeasureError,
            r"(?s)same layers: 0,1,2 of 4 .* same --layers",
        ),
        ([of("a@step1"), of("a@step2", walk(31, 3, 4))], {}, MeasureError, "hold different tokens: 30 and 31 rows"),
    ],
)
def test_what_is_no_training_run_is_refused(captures, options, error, text):
    with pytest.raises(error, match=text):
        over_training(captures, **options)


def test_steps_may_be_given():
    found = over_training([of("late"), of("early")], "cka_biased", steps=[7, 3])
    assert found["model"].values.tolist() == ["early", "late"]
    assert found.attrs["model"] == "late"
