"""Vision models, in which a token is a patch of an image: found and proved, run under schedules, refused for texts."""

import pytest
import torch
import transformers as tf

import layerscope as ls
from layerscope.errors import ModelError
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from tests.families.tiny_configs import DEPTH, tiny_config

# With a class token, and registers in DINOv2; 16 patches.
FAMILIES = {"vit": 17, "dinov2": 17, "clip_vision_model": 17, "siglip_vision_model": 16, "dinov3_vit": 17}
NORMS = {"vit": "layernorm", "dinov2": "layernorm", "siglip_vision_model": "post_layernorm", "dinov3_vit": "norm"}


def make(family: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = tf.AutoModel.from_config(tiny_config(family)).eval()
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.data.normal_(std=0.3)
    return module


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return wrap_module(make(request.param), name=request.param)


def images() -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_blocks_and_norm_are_found(model):
    found = model.architecture
    assert (model.depth, model.width, found.main_input, found.causal) == (DEPTH, 64, "pixel_values", False)
    assert (found.final_norm or "").rpartition(".")[2] == NORMS.get(model.name, "")


@torch.no_grad()
def test_schedules_run(model):
    own = model.module(pixel_values=images())[0]
    assert own.shape[:2] == (2, FAMILIES[model.name])
    states = []
    with scheduled(model, "identity", observe=lambda number, stream: states.append(stream)):
        assert torch.equal(model.module(pixel_values=images())[0], own)
    assert len(states) == DEPTH + 1
    with scheduled(model, "0 (1|2) 3"):
        assert not torch.equal(model.module(pixel_values=images())[0], own)


def test_texts_are_refused(model):
    with pytest.raises(ModelError) as error:
        ls.capture(model, ["a text"], "run.h5")
    assert str(error.value) == (
        f"{model.name}: {model.architecture.family} reads images (pixel_values), no texts.\n"
        "Capture it with --images FOLDER, or run its module on images yourself, under ls.scheduled(…) too."
    )


def test_a_classifier_loads_from_a_folder_without_a_tokenizer(tmp_path):
    config = tiny_config("vit")
    tf.ViTForImageClassification(config).save_pretrained(tmp_path / "tiny-vit")
    model = ls.load_model(tmp_path / "tiny-vit")
    assert (model.depth, model.architecture.trunk, model.architecture.final_norm) == (DEPTH, "vit", "layernorm")


def test_hierarchical_models_are_refused_by_what_was_seen():
    config = tf.SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    with pytest.raises(
        ModelError, match=r"Seen: the states of .* shrink or grow from .* \(a hierarchical model\)\.\nMis"
    ):
        wrap_module(tf.SwinModel(config), name="swin")
