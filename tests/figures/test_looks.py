"""A variant without a look of its own is drawn with a default look, in every figure."""

import numpy as np
import pytest

from layerscope import figures
from layerscope.figures.parts.looks import LOOKS, variant_look
from tests.figures.drawing import assert_readable
from tests.figures.sweeps import specs, synthetic
from tests.figures.test_drift_and_latency import clouds
from tests.figures.test_sweeps import key, lines


@pytest.fixture
def sweep(monkeypatch):
    """A sweep with runs of a variant that has no look."""
    for name, table in (("sweep", "RANGE_VARIANTS"), ("tasks", "RANGE_VARIANTS"), ("latency", "SHORTER_VARIANTS")):
        monkeypatch.setattr(f"layerscope.figures.kinds.{name}.{table}", ("my_variant", "parallel"))
    monkeypatch.setattr("layerscope.figures.parts.curves.RANGE_VARIANTS", ("my_variant", "parallel"))
    monkeypatch.setattr("layerscope.figures.kinds.single.BLOCK_VARIANTS", ("swap", "my_block"))
    whole = synthetic(
        [*specs(8, variants=["skip", "parallel"]), "drop:1", "drop:3", "swap:2"], tasks=["builtin:cloze"], depth=8
    )
    names = {"skip": "my_variant", "drop": "my_block"}
    variants = [names.get(name, name) for name in whole["variant"].values.tolist()]
    schedules = [text.replace("skip", "my_variant") for text in whole["schedule"].values.tolist()]
    return whole.assign_coords(variant=("run", variants), schedule=("run", schedules))


def test_it_is_drawn_in_every_figure_with_the_same_look(sweep):
    look = variant_look("my_variant")
    for make in (figures.sweep, figures.latency):
        line = lines(make(sweep, "loss").axes[0])["my variant"]
        assert line.get_color() == look.colour
    assert figures.tasks(sweep, "loss").axes[0].get_title(loc="left") == "my variant"
    drift = figures.drift(sweep)
    assert set(clouds(drift.axes[0])) == {"parallel", "my variant", "my block", "swap neighbours"}
    assert {"my variant", "my block"} <= set(key(drift))
    assert list(lines(figures.single(sweep).axes[0])) == ["swap neighbours", "my block"]
    stages = figures.stages(sweep, ["my_variant:1", "my_variant:2"])
    colours = [line.get_color() for line in lines(stages.axes[0]).values()]
    assert colours[1] == look.colour
    assert len(set(colours)) == 3
    assert_readable(drift)


def test_no_default_look_is_that_of_a_variant():
    names = [f"variant_{number}" for number in range(200)]
    looks = [variant_look(name) for name in names]
    assert not {(look.colour, look.marker) for look in looks} & {(look.colour, look.marker) for look in LOOKS.values()}
    assert len({(look.colour, look.marker) for look in looks}) == 24
    assert np.all([look == variant_look(name) for look, name in zip(looks, names, strict=True)])
