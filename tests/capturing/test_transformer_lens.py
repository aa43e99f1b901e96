"""What the TransformerLens backend does beyond the conformance suite: rounding, shared weights, checkpoints it refuses."""

import pytest
import torch
import transformers as tf
from transformer_lens.model_bridge.sources import build_bridge_from_module

from layerscope.capturing import transformer_lens_backend
from layerscope.capturing.backends import BACKENDS, backend_for
from layerscope.capturing.inputs import TextInputs
from layerscope.capturing.protocol import CaptureSpec
from layerscope.errors import CaptureError
from layerscope.models.loading import wrap_module
from tests.capturing.conformance import assert_as_it_was, batch, distance, make_model, run_once, snapshot
from tests.families import FAMILIES, VOCABULARY

each_family = pytest.mark.parametrize(
    "family", [family for family in FAMILIES if family not in BACKENDS["transformer-lens"].refused]
)

# In these families TransformerLens multiplies and adds in another order than the model does.
RESPLIT = ("gpt2", "bloom", "falcon")
# These families' joint projections are interleaved, so that TransformerLens needs a copy to split them.
COPIES_QKV = ("gpt_neox", "bloom", "falcon")


@each_family
def test_states_differ_from_an_eager_model_by_nothing_or_by_rounding(family):
    dtype, bound = (torch.float64, 1e-14) if family in RESPLIT else (torch.float32, 0)
    # Falcon cannot switch: in float64 its own attention does without the float32 softmax of eager attention, as its bridge does.
    model = make_model(family, dtype, attention=None if family == "falcon" else "eager")
    ids, mask, _ = batch(model)
    got, expected = (run_once(name, model, ids, mask) for name in ("transformer-lens", "hooks"))
    assert distance(got, expected, mask) <= bound


@each_family
def test_the_bridge_is_eager_and_shares_the_weights(monkeypatch, family):
    bridges = []

    def build(*args, **kwargs):
        bridges.append(build_bridge_from_module(*args, **kwargs))
        return bridges[-1]

    monkeypatch.setattr(transformer_lens_backend, "build_bridge_from_module", build)
    model = make_model(family)
    with backend_for("transformer-lens", model).session(model, CaptureSpec((1,))):
        pass
    eager = bridges[0].original_model.config._attn_implementation == "eager"
    assert eager or family == "falcon"  # which cannot switch
    weights = storages(model.module)
    shared = storages(bridges[0].original_model)
    assert set(weights) <= set(shared)
    # Absent biases become small vectors of zeros.
    extra = sum(size for pointer, size in shared.items() if pointer not in weights)
    assert extra < (0.4 if family in COPIES_QKV else 0.01) * sum(weights.values())


def storages(module: torch.nn.Module) -> dict[int, int]:
    tensors = [tensor.untyped_storage() for tensor in (*module.parameters(), *module.buffers())]
    return {storage.data_ptr(): storage.nbytes() for storage in tensors}


SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": VOCABULARY}
REFUSED = {
    "headless": (
        lambda: tf.BertModel(tf.BertConfig(**SIZE, intermediate_size=64)),
        r"does not support this checkpoint \(ValueError: Unsupported architecture: BertModel\)",
    ),
    "new-falcon": (
        lambda: tf.FalconForCausalLM(tf.FalconConfig(**SIZE, new_decoder_architecture=True, num_kv_heads=2)),
        r"does not support this checkpoint \(RuntimeError: split_with_sizes expects .*\)",
    ),
    "alibi-falcon": (
        lambda: tf.FalconForCausalLM(tf.FalconConfig(**SIZE, alibi=True, multi_query=False)),
        r"computes state 1 differently from the model \(relative difference \d\.\de-\d+\)",
    ),
    "projecting-opt": (
        lambda: tf.OPTForCausalLM(tf.OPTConfig(**SIZE, ffn_dim=64, word_embed_proj_dim=16)),
        r"has no ln_final\.hook_out for this checkpoint",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_checkpoint_it_refuses_or_misreads(name):
    make, why = REFUSED[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make()
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(3)
    model = wrap_module(module, name=name)
    wanted = CaptureSpec((0, 2), final_norm=model.final_norm is not None)
    before = snapshot(model)
    backend = backend_for("transformer-lens", model)
    message = rf"^{name}: TransformerLens {why}\.\nUse --backend hooks\.$"
    with pytest.raises(CaptureError, match=message), backend.session(model, wanted):
        pass
    assert_as_it_was(model, before)
    with backend_for("nnsight", model).session(model, wanted) as run:  # the others take it
        assert len(run(TextInputs(*2 * [torch.ones(1, 3, dtype=torch.int64)])).hidden) == 2


def test_a_checkpoint_without_a_final_norm_where_none_is_wanted():
    model = wrap_module(REFUSED["projecting-opt"][0](), name="opt")
    with backend_for("transformer-lens", model).session(model, CaptureSpec((2,))) as run:
        assert run(TextInputs(*2 * [torch.ones(1, 3, dtype=torch.int64)])).final_norm is None
