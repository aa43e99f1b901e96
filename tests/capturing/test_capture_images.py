"""Captures of folders of images, in which a token is a patch."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import torch
import transformers as tf
import xarray

import layerscope as ls
from layerscope.capturing.model_info import model_info
from layerscope.errors import CaptureError, ModelError, TextsError, UsageError
from layerscope.models.loading import wrap_module
from tests.cli.test_commands import run
from tests.families import tiny_module
from tests.families.tiny_configs import DEPTH, tiny_config

COUNT, TOKENS = 5, 17
SQUARE = {"height": 16, "width": 16}
PROCESSORS = {
    "dinov2": lambda: tf.BitImageProcessorPil(size={"shortest_edge": 16}, crop_size=SQUARE),
    "clip_vision_model": lambda: tf.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=SQUARE),
    "siglip_vision_model": lambda: tf.SiglipImageProcessorPil(size=SQUARE),
    "vit": lambda: tf.ViTImageProcessorPil(size=SQUARE),
}


def module_of(family):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tf.AutoModel.from_config(tiny_config(family)).eval()


def save_noise(path, seed, shape=(20, 30, 3)):
    pixels = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a ViT and its processor, and images of several sizes, one of them grey, with a text between them."""
    place = tmp_path_factory.mktemp("images")
    module_of("vit").save_pretrained(place / "vit")
    stored = {"image_processor_type": "ViTImageProcessor", "size": SQUARE}
    (place / "vit" / "preprocessor_config.json").write_text(json.dumps(stored))
    (place / "photos" / "sub").mkdir(parents=True)
    for number in range(COUNT - 1):
        save_noise(place / "photos" / f"{number}.png", number, (20 + number, 30, 3))
    save_noise(place / "photos" / "grey.jpg", 9, (20, 30))
    (place / "photos" / "notes.txt").write_text("no image")
    (place / "photos" / ".hidden.png").write_bytes(b"")
    return place


@pytest.fixture(scope="module")
def model(place):
    return ls.load_model(place / "vit")


def by_hand(module, processor, folder):
    """Return the states of every image, in the order of names, from hooks and one image at a time."""
    blocks = next(
        list(part) for part in module.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == DEPTH
    )
    taken = []

    def first(value):
        return value[0] if isinstance(value, tuple) else value

    handles = [blocks[0].register_forward_pre_hook(lambda _, args: taken.append(args[0]))]
    handles += [block.register_forward_hook(lambda _, __, output: taken.append(first(output))) for block in blocks]
    images = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".png", ".jpg") and not path.name.startswith("."):
            taken.clear()
            with torch.no_grad():
                module(processor(PIL.Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"])
            images.append(torch.stack(taken, dim=2)[0])  # token, layer, feature
    for handle in handles:
        handle.remove()
    return torch.stack(images).numpy()


@pytest.mark.parametrize("family", PROCESSORS)
def test_states_are_those_that_hooks_hear(family, place, tmp_path):
    processor = PROCESSORS[family]()
    model = ls.load_model(module_of(family), image_processor=processor)
    expected = by_hand(model.module, processor, place / "photos")
    ls.capture(model, images=place / "photos", output=tmp_path / "run.h5", batch_tokens=2 * TOKENS)
    captured = ls.open_capture(tmp_path / "run.h5")
    hidden = captured.hidden.transpose("token", "layer", "feature").values.reshape(expected.shape)
    np.testing.assert_allclose(hidden, expected, atol=1e-5)
    assert captured.sequence_id.values[:: expected.shape[1]].tolist() == [
        "0.png",
        "1.png",
        "2.png",
        "3.png",
        "grey.jpg",
    ]
    assert (captured.token_id == -1).all()
    assert captured.position.values.tolist() == COUNT * list(range(expected.shape[1]))
    assert captured.image_height.values.tolist() == [20, 21, 22, 23, 20]


def test_streams_schedules_and_selections(model, place, tmp_path):
    photos = place / "photos"
    ls.capture(model, images=photos, output=tmp_path / "a.h5", streams="resid,attn,mlp")
    whole = ls.open_capture(tmp_path / "a.h5").load()
    added = whole.attn_out.values + whole.mlp_out.values
    hidden = whole.hidden.transpose("token", "layer", "feature").values
    np.testing.assert_allclose(np.diff(hidden, axis=1), added.reshape(len(hidden), DEPTH, -1), atol=1e-5)
    ls.capture(model, images=photos, output=tmp_path / "b.h5", tokens="first", layers="0,2")
    first = ls.open_capture(tmp_path / "b.h5")
    np.testing.assert_array_equal(first.hidden, whole.hidden.isel(token=whole.position == 0).sel(layer=[0, 2]))
    ls.capture(model, images=photos, output=tmp_path / "c.h5", tokens="mean", limit=3, store_dtype="float16")
    means = whole.hidden.isel(token=slice(3 * TOKENS)).values.reshape(3, TOKENS, *whole.hidden.shape[1:]).mean(1)
    np.testing.assert_allclose(ls.open_capture(tmp_path / "c.h5").hidden.astype("float32"), means, atol=2e-3)
    ls.capture(model, images=photos, output=tmp_path / "d.h5", schedule="0 2 1 3", layers="4")
    assert not np.allclose(ls.open_capture(tmp_path / "d.h5").hidden[:, 0], whole.hidden.sel(layer=4))
    report = ls.capture(model, images=photos, output=tmp_path / "e.h5", backend="nnsight")
    np.testing.assert_array_equal(ls.open_capture(tmp_path / "e.h5").hidden, whole.hidden)
    assert (report.sequences, report.rows, report.skipped) == (COUNT, COUNT * TOKENS, 1)
    assert json.loads(report.attributes["provenance"])["image_processor"] == "ViTImageProcessorPil"


class _Stop(Exception):
    pass


class _StopsAt:
    def __init__(self, batch):
        self.left = batch

    def update(self, rows):
        self.left -= 1
        if not self.left:
            raise _Stop


def test_resume(model, place, tmp_path):
    photos = shutil.copytree(place / "photos", tmp_path / "photos")
    options = {"images": photos, "batch_tokens": 2 * TOKENS}
    ls.capture(model, **options, output=tmp_path / "whole.h5")
    with pytest.raises(_Stop):
        ls.capture(model, **options, output=tmp_path / "run.h5", sinks=[_StopsAt(2)])
    save_noise(photos / "1.png", 77, (21, 30, 3))
    with pytest.raises(CaptureError, match="sequence 1 has another image_hash"):
        ls.capture(model, **options, output=tmp_path / "run.h5", resume=True)
    save_noise(photos / "1.png", 1, (21, 30, 3))
    ls.capture(model, **options, output=tmp_path / "run.h5", resume=True)
    whole, run = (xarray.open_dataset(tmp_path / name, engine="h5netcdf") for name in ("whole.h5", "run.h5"))
    xarray.testing.assert_identical(whole.drop_attrs(), run.drop_attrs())


def test_command_line(place, tmp_path):
    said = run("capture", "vit", "--images", "photos", "--output", tmp_path / "run.h5", cwd=place).stdout
    assert f"{COUNT} sequences, {COUNT * TOKENS} rows" in said
    assert (
        "nothing to do"
        in run("capture", "vit", "--images", "photos", "--output", tmp_path / "run.h5", "--resume", cwd=place).stdout
    )
    run("analyze", tmp_path / "run.h5", "--output", tmp_path / "run.nc", cwd=place)
    analysis = xarray.open_dataset(tmp_path / "run.nc", engine="h5netcdf")
    assert analysis.cosine.shape == (DEPTH + 1, DEPTH + 1)
    assert analysis.cosine.attrs["tokens"] == COUNT * TOKENS


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"texts": ["a"]}, "--images and --texts exclude each other"),
        ({"texts": "builtin:other"}, "--images and --texts exclude each other"),
        ({"chat": True}, "--chat is for texts: leave it out with --images"),
        ({"max_length": 8}, "--max-length is for texts"),
        ({"metadata": "author"}, "--metadata is for texts"),
        ({"limit": 0}, "limit 0"),
    ],
)
def test_options_of_texts_are_refused(place, options, said):
    with pytest.raises(UsageError, match=said):
        ls.capture("absent", **{"output": place / "none.h5", "images": place / "photos"} | options)


def _empty(path):
    path.write_bytes(b"")


def _damaged(path):
    save_noise(path, 0)
    path.write_bytes(path.read_bytes()[:300])


def _cut(path):
    save_noise(path.with_suffix(".bmp"), 0, (200, 300, 3))
    path.with_suffix(".bmp").write_bytes(path.with_suffix(".bmp").read_bytes()[:20_000])


def _deep(path):
    PIL.Image.fromarray(np.full((20, 30), 40_000, np.uint16)).save(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.with_suffix(".txt").write_text("a"), r"no image in this folder \(1 other files\)"),
        (lambda path: None, r"no image in this folder \(it has no file; subfolders are not read\)"),
        (lambda path: path.parent.rmdir(), "there is no such folder"),
        (_empty, r"b.png: an empty file, not an image"),
        (_damaged, r"b.png: not a readable image \("),
        (_cut, r"b.bmp: not a readable image \(image file is truncated"),
        (_deep, r"b.png: its pixels have more than 8 bits a channel \(I;16\)"),
    ],
)
def test_bad_folders_are_refused(model, tmp_path, spoil, said):
    (tmp_path / "bad").mkdir()
    spoil(tmp_path / "bad" / "b.png")
    with pytest.raises(TextsError, match=said):
        ls.capture(model, images=tmp_path / "bad", output=tmp_path / "run.h5")
    assert not (tmp_path / "run.h5").exists()


def test_models_that_cannot_are_refused(model, place, tmp_path):
    photos, path = place / "photos", tmp_path / "run.h5"
    texts = wrap_module(tiny_module("llama"), name="tiny")
    with pytest.raises(ModelError, match=r"tiny: llama reads texts \(input_ids\), no images: give --texts instead"):
        ls.capture(texts, images=photos, output=path)
    with pytest.raises(ModelError, match="no image processor is stored with the model"):
        ls.capture(module_of("vit"), images=photos, output=path)
    large = ls.load_model(model.module, image_processor=tf.ViTImageProcessorPil(size={"height": 32, "width": 32}))
    with pytest.raises(ModelError, match="cannot read what its image processor makes"):
        ls.capture(large, images=photos, output=path)
    uneven = ls.load_model(
        module_of("dinov2"), image_processor=tf.BitImageProcessorPil(size={"shortest_edge": 16}, do_center_crop=False)
    )
    with pytest.raises(CaptureError, match=r"several sizes \(1.png\)"):
        ls.capture(uneven, images=photos, output=path, overwrite=True)
    with pytest.raises(CaptureError, match="TransformerLens reads texts, and this model reads images"):
        ls.capture(model, images=photos, output=path, backend="transformer-lens", overwrite=True)
    assert model_info(model)["backends"]["nnsight"] == "yes"


def test_a_model_with_two_parts_is_refused():
    small = {
        "num_hidden_layers": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_attention_heads": 1,
        "vocab_size": 9,
    }
    config = tf.CLIPConfig(text_config=small, vision_config=tiny_config("clip_vision_model").to_dict())
    with pytest.raises(ModelError, match="CLIPModel has one part for texts and one for images"):
        ls.load_model(tf.CLIPModel(config), name="clip")
