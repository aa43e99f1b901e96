"""The whole road, from models to the answer: GPT-NeoX models of several sizes with known segments, and real models."""

import json

import pytest
import torch
import transformers

import layerscope as ls
from layerscope.models.loading import load_model
from tests.cli.test_commands import run
from tests.conftest import real_path
from tests.tokenizers import word_tokenizer

WIDTH = 64
SIZES = {6: (2, 4, 1), 9: (3, 6, 1), 12: (4, 7, 2), 18: (6, 11, 2)}
"""Blocks, and the segments planted in their states."""
TEXTS = [" ".join(f"w{(7 * n + k * k) % 90}" for k in range(8 + n % 5)) for n in range(24)]
MEASURES = "cosine,cosine_sequence,cosine_centered,cka"


def planted_model(depth, sizes):
    """Make a Pythia-like model whose blocks all but pass their input on, save those that begin a new segment.

    These add a random function of the token, as large as the stream itself, so that every similarity falls there.
    """
    torch.manual_seed(depth)
    config = transformers.GPTNeoXConfig(
        vocab_size=97,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=depth,
        num_attention_heads=4,
        max_position_embeddings=32,
        use_parallel_residual=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    module = transformers.GPTNeoXForCausalLM(config)
    module.gpt_neox.embed_in.weight.data.normal_()
    boundaries = {sizes[0] - 1, sizes[0] + sizes[1] - 1}  # block l-1 makes state l
    for number, block in enumerate(module.gpt_neox.layers):
        block.mlp.dense_h_to_4h.weight.data.normal_(std=WIDTH**-0.5)
        strength = 3.0 * (2.0 if number == max(boundaries) else 1.0) if number in boundaries else 0.05
        block.mlp.dense_4h_to_h.weight.data.normal_(std=strength * (4 * WIDTH) ** -0.5)
        block.attention.dense.weight.data.mul_(0.05)
    return module


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the planted models, and analyses of them with the first tokens in and out."""
    place = tmp_path_factory.mktemp("planted")
    (place / "some.txt").write_text("\n".join(TEXTS))
    for depth, sizes in SIZES.items():
        planted_model(depth, sizes).save_pretrained(place / f"neox-{depth}")
        word_tokenizer().save_pretrained(place / f"neox-{depth}")
        for excluded in (0, 1):
            options = ["--measures", MEASURES, "--bootstrap", "40", "--exclude-first", excluded]
            target = f"neox-{depth}-{excluded}.nc"
            run("analyze", f"neox-{depth}", "--texts", "some.txt", *options, "--output", target, cwd=place)
    return place


def test_planted_segments_are_recovered(place):
    files = sorted(path.name for path in place.glob("*.nc"))
    said = json.loads(run("scaling", *files, "--json", cwd=place).stdout)
    assert [model["depth"] for model in said["models"]] == list(SIZES)
    module = load_model(place / "neox-9").module
    assert said["models"][1]["parameters"] == sum(one.numel() for one in module.parameters())
    readings = {(reading["measure"], reading["excluded_first"]): reading for reading in said["readings"]}
    assert readings.keys() == {(name, excluded) for name in MEASURES.split(",") for excluded in (0, 1)}
    for reading in readings.values():
        assert reading["sizes"] == {f"neox-{depth}": list(sizes) for depth, sizes in SIZES.items()}
        assert reading["sizes_low"] == reading["sizes_high"] == reading["sizes"]
        assert reading["claims"]["ending_is_one_layer"]["verdict"] == "fails"
        assert reading["fits"]["middle"]["form"] == "proportional"
        assert reading["fits"]["middle"]["left_out_error"] < 0.5


@pytest.mark.real
def test_three_real_models():
    analyses = []
    for name in ("smollm2-135m", "gemma3-270m", "minilm-l6"):
        model = load_model(real_path(name))
        options = {"limit": 6, "bootstrap": 20, "measures": ["cosine", "cosine_sequence"]}
        analyses += [
            ls.analyze_model(model, "builtin:passages", exclude_first=excluded, **options) for excluded in (0, 1)
        ]
    found = ls.scaling(analyses)
    assert found.model.values.tolist() == ["all-MiniLM-L6-v2", "SmolLM2-135M-Instruct.Q4_1", "gemma-3-270m.Q4_K_M"]
    assert found.parameters.values.tolist() == [22_713_216, 134_515_008, 268_098_176]
    assert found.states.values.tolist() == [7, 31, 19]
    assert (found["size"].sum("segment") == found.states).all()
    # The paper's Pythia models end in one layer; these do not, whatever the measure.
    assert (found.verdict.sel(claim="ending_is_one_layer") == "fails").all()
    sequence = found.isel(reading=[2, 3]).sel(model="SmolLM2-135M-Instruct.Q4_1")
    assert sequence.measure.values.tolist() == ["cosine_sequence", "cosine_sequence"]
    # The massive first token makes the segments of the paper's measure.
    assert not (sequence["size"][0] == sequence["size"][1]).all()
