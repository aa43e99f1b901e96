"""Compare models on two devices with the same models on one; `test_devices` runs this in a process of its own."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import dispatch_model

import layerscope as ls
from layerscope.errors import UsageError
from layerscope.execution.recorded_batch import record_with_prefixes
from layerscope.models.model import Model
from tests.families import tiny_module
from tests.second_device import SECOND, second_device
from tests.tokenizers import word_tokenizer

TEXTS = ["w5 w6 w7 w8", "w9 w10"]
SCHEDULE = "0 (1|2) 3"
REFUSED = r"the blocks of the stage \(1\|2\) are on cpu and second:0, so they cannot run as one: leave out stacked"
SWEEP: dict[str, Any] = {"limit": 2, "bootstrap": 0, "latency": True, "latency_tokens": 4}


def spread(family: str) -> Model:
    """Return a model whose blocks are on both devices by turns."""
    module = tiny_module(family)
    blocks = ls.load_model(module, tokenizer=word_tokenizer()).blocks
    paths = [path for block in blocks for path, part in module.named_modules() if part is block]
    home: dict[str, Any] = {path: SECOND if number % 2 else "cpu" for number, path in enumerate(paths)}
    around = {path.rpartition(".")[0] for path in paths} | {""}
    around |= {path[: path.index(".", start)] for path in paths for start in range(len(path)) if "." in path[start:]}
    for path, part in module.named_modules():
        if path and path not in around and path.rpartition(".")[0] in around and path not in home:
            home[path] = "cpu"
        for name, _ in part.named_parameters(recurse=False) if path in around else ():
            home[f"{path}.{name}".strip(".")] = "cpu"
    skipped = getattr(module, "_skip_keys_device_placement", None)
    dispatch_model(module, home, main_device="cpu", skip_keys=skipped, force_hooks=True)
    assert {weight.device for weight in module.get_submodule(paths[1]).parameters()} == {SECOND}
    return ls.load_model(module, tokenizer=word_tokenizer())


def captured(model: Model, path: Path, **options: Any) -> list[torch.Tensor]:
    """Return what a capture stores."""
    ls.capture(model, TEXTS, path, overwrite=True, **options)
    stored = ls.open_capture(path)
    names = ("hidden", "attn_out", "mlp_out", "final_norm")
    return [torch.from_numpy(stored[name].load().values) for name in names if name in stored]


def after_prefixes(model: Model) -> torch.Tensor:
    """Return the streams of two prefixes and three continuations after two blocks on different devices."""
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]]), torch.ones(2, 3, dtype=torch.long)
    more = torch.tensor([[11, 12], [13, 14], [15, 16]]), torch.ones(3, 2, dtype=torch.long)
    with torch.no_grad():
        batch = record_with_prefixes(model, ids, more, torch.tensor([1, 0, 1]))
        return batch.call(2, batch.run_stage((1, 2), batch.start)).cpu()


def compare(family: str, folder: Path) -> None:
    """Compare all that runs blocks."""
    alone, two = ls.load_model(tiny_module(family), tokenizer=word_tokenizer()), spread(family)
    assert two.devices == "cpu, second:0"
    whole = {"streams": ["resid", "attn", "mlp"], "final_norm": alone.final_norm is not None}
    for options in (whole, {"schedule": SCHEDULE}):
        wanted, found = (captured(model, folder / "run.h5", **options) for model in (alone, two))
        for one, other in zip(wanted, found, strict=True):
            torch.testing.assert_close(other, one)
    if not alone.architecture.causal:
        return
    torch.testing.assert_close(after_prefixes(two), after_prefixes(alone))
    asked: dict[str, Any] = {"schedule": SCHEDULE, "max_new_tokens": 3}
    assert ls.generate(two, "w5 w6", **asked) == ls.generate(alone, "w5 w6", **asked)
    wanted, found = (ls.sweep(model, "builtin:cloze", schedule="parallel:1", **SWEEP) for model in (alone, two))
    for name in ("loss", "drift_cosine"):
        torch.testing.assert_close(
            torch.tensor(found[name].values), torch.tensor(wanted[name].values), rtol=1e-4, atol=1e-6
        )
    assert (wanted.stacked >= 0).sum() == (found.stacked >= 0).sum() > 0
    with pytest.raises(UsageError, match=REFUSED):
        ls.generate(two, "w5 w6", stacked=True, **asked)
    with ls.scheduled(two, "0 (1|3)", stacked=True):  # on one device
        pass


if __name__ == "__main__":
    with second_device():
        for name in sys.argv[2:]:
            compare(name, Path(sys.argv[1]))
