"""Damage a model folder in place, one change for each case. `tokenizer_damages` has the cases of ``tokenizer.json``."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

Change = Callable[[Path], object]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
DEEP = "[" * 100_000 + "]" * 100_000


class Case(NamedTuple):
    """A change of an intact folder, and the group of cases in which it counts."""

    group: str
    sound: str
    change: Change


def pipe(path: Path) -> None:
    """Replace a file by a named pipe."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def device(path: Path) -> None:
    """Replace a file by a link to an endless device."""
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def directory(path: Path) -> None:
    """Replace a file by a directory."""
    path.unlink(missing_ok=True)
    path.mkdir()


def loop(path: Path) -> None:
    """Replace a file by a link to itself."""
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def huge(path: Path) -> None:
    """Extend a file to 4 TiB without using disk space."""
    with path.open("ab") as file:
        file.truncate(2**42)


def outside(path: Path) -> None:
    """Move a file out of the folder, and replace it by a link."""
    elsewhere = path.parent.with_name(f"elsewhere-{path.name}")
    if path.exists():
        shutil.move(path, elsewhere)
        path.symlink_to(elsewhere)


def _text(content: str | bytes, path: Path) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def edit(name: str, changed: Callable[[Any], Any], folder: Path) -> None:
    """Change the content of a JSON file."""
    content = json.loads((folder / name).read_text())
    kept = changed(content)
    (folder / name).write_text(json.dumps(content if kept is None else kept))


IN_PLACE = {"pipe": pipe, "device": device, "directory": directory, "loop": loop, "huge": huge, "outside": outside}
AS_JSON = {
    "deep": f'{{"a": {DEEP}}}',
    "not UTF-8": b'{"\xff": 1}',
    "a list": "[1]",
    "cut": '{"a": ',
    "empty": "",
    "null": "null",
}
JSON_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "extra.json", INDEX)
OTHER_FILES = (WEIGHTS, "pytorch_model.bin", "extra.bin", "merges.txt", "vocab.json", "special_tokens_map.json")

LIES: dict[str, Any] = {
    "num_hidden_layers": [10**9, 5, 3, 0, -1, 1.5, "4", None],
    "hidden_size": [0, -32, 10**9, 10**400, 31, "x"],
    "vocab_size": [96, 98, 0, 10**12],
    "intermediate_size": [10**9, 0, -1],
    "num_attention_heads": [0, -4, 3, 10**9],
    "num_key_value_heads": [0, 3, -2],
    "head_dim": [10**9, 0, 7],
    "max_position_embeddings": [-1, 0, "x"],
    "rope_parameters": ["linear", {"rope_type": "spiral"}, {"rope_type": "default", "rope_theta": "x"}, [1]],
    "hidden_act": [5, "nonsense", None],
    "rms_norm_eps": ["x", None],
    "architectures": [[5], "x", None, ["os.system"]],
    "model_type": [["llama"], "nonsense", None, "gpt2", 5],
    "dtype": ["int99", 5],
    "quantization_config": [[1], {"quant_method": "nonsense"}, {"quant_method": "gptq", "bits": 4}, {}],
    "tie_word_embeddings": ["maybe"],
    "initializer_range": [-1],
    "pad_token_id": [10**6, -5, "x"],
    "num_labels": [10**8],
    "id2label": [[1], {"x": 5}],
    "auto_map": [{"AutoModelForCausalLM": "modeling_x.X", "AutoConfig": "c.X"}],
    "transformers_weights": ["../elsewhere.safetensors", "missing.safetensors", 5],
    "attn_implementation": ["flash_attention_2", "nobody/kernels"],
    "layer_types": [["x"] * 4, ["full_attention"], 5],
    "pretraining_tp": [10**9],
    "attention_bias": [True],
}
TARGETS = ["/dev/zero", "../elsewhere.safetensors", "/etc/passwd", "missing.safetensors", 5, "a\0b", "", ".", None]


def _point(target: Any, index: dict[str, Any]) -> None:
    index["weight_map"][next(iter(index["weight_map"]))] = target


def _cut(length: int, folder: Path) -> None:
    os.truncate(folder / WEIGHTS, length)


def _header(header: bytes, length: int, folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(length.to_bytes(8, "little") + header)


def _tensor(dtype: str, shape: list[int], offsets: list[int]) -> bytes:
    return json.dumps({"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


def _flip(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[20] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def _bomb(folder: Path) -> None:
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", bytes(2**28))


def _without(part: str, folder: Path) -> None:
    content = torch.load(folder / "pytorch_model.bin")
    torch.save({name: weight for name, weight in content.items() if part not in name}, folder / "pytorch_model.bin")


def _templates(change: Change, folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    change(folder / "additional_chat_templates" / "x.jinja")


def _weights() -> dict[str, Case]:
    headers = {
        "longer than the file": (b"{}", 2**60),
        "not JSON": (b"xx", 2),
        "deep": (DEEP.encode(), len(DEEP)),
        "a huge tensor": ((huge_one := _tensor("F32", [10**9, 10**9], [0, 4 * 10**18])), len(huge_one)),
        "an unknown type": ((odd := _tensor("X9", [1], [0, 4])), len(odd)),
        "negative offsets": ((negative := _tensor("F32", [1], [-4, 0])), len(negative)),
    }
    cases = {f"header, {what}": Case("weights", "llama", partial(_header, *given)) for what, given in headers.items()}
    cases |= {f"cut to {size}": Case("weights", "llama", partial(_cut, size)) for size in (0, 7, 100, 5000, 40_000)}
    cases["flipped"] = Case("weights", "llama", _flip)
    cases |= {
        f"bin, {what}": Case("weights", "bin", change)
        for what, change in {
            "a list": lambda folder: torch.save([1, 2], folder / "pytorch_model.bin"),
            "noise": lambda folder: _text("x" * 1000, folder / "pytorch_model.bin"),
            "a bomb": _bomb,
            "without block 2": partial(_without, "layers.2."),
            "without norms": partial(_without, "norm"),
        }.items()
    }
    return cases


def _cases() -> dict[str, Case]:
    cases = {
        f"{what} for {name}": Case(
            "files", "sharded" if name == INDEX else "llama", lambda at, c=change, n=name: c(at / n)
        )
        for name in JSON_FILES + OTHER_FILES
        for what, change in IN_PLACE.items()
    }
    cases |= {
        f"{name} {what}": Case(
            "JSON", "sharded" if name == INDEX else "llama", lambda at, c=text, n=name: _text(c, at / n)
        )
        for name in JSON_FILES
        for what, text in AS_JSON.items()
    }
    for field, values in LIES.items():
        for value in values:
            lie = partial(edit, "config.json", lambda config, f=field, v=value: config.update({f: v}))
            cases[f"{field} {str(value)[:40]}"] = Case("configurations", "llama", lie)
        absent = partial(edit, "config.json", lambda config, f=field: config.pop(f, None) and None)
        cases[f"no {field}"] = Case("configurations", "llama", absent)
    for family, field in {"gpt2": "n_layer", "qwen2": "num_hidden_layers"}.items():
        lie = partial(edit, "config.json", lambda config, f=field: config.update({f: 10**9}))
        cases[f"{family} of a billion blocks"] = Case("configurations", family, lie)
    for target in TARGETS:
        point = partial(edit, INDEX, partial(_point, target))
        cases[f"index to {target!r}"] = Case("indices", "sharded", point)
    shard = "model-00001-of-00002.safetensors"
    cases |= {
        f"{what} for a shard": Case("indices", "sharded", lambda at, c=c: c(at / shard)) for what, c in IN_PLACE.items()
    }
    cases |= {f"{what} for a template": Case("files", "llama", partial(_templates, c)) for what, c in IN_PLACE.items()}
    return cases | _weights()


CASES = _cases()
