"""Try every language model type of transformers on a tiny random model, and write the table of what is supported.

``python -m tests.families.census`` writes ``layerscope/models/families.tsv``, which ``layerscope list models`` and the page of
models show; with names, it prints their rows instead. The whole table takes some minutes on one core. The tests measure a part
of the rows again.
"""

import csv
import sys
from collections.abc import Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import torch
import transformers

from layerscope.capturing.backends import BACKENDS, backend_for
from layerscope.capturing.inputs import TextInputs
from layerscope.capturing.protocol import CaptureSpec
from layerscope.errors import LayerScopeError
from layerscope.execution.cache_use import cache_use
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from layerscope.models.supported_families import SupportedFamily
from tests.families.oracles import run_by_hand, states_by_hand
from tests.families.tiny_modules import random_module

__all__ = ["TABLE", "measure", "read_table"]

TABLE = Path(__file__).parents[2] / "layerscope/models/families.tsv"
_IDS = torch.tensor([[5, 17, 9, 33, 21, 8, 40, 13, 29], [12, 7, 31, 22, 45, 18, 6, 27, 10]])
_ROUNDING = 2e-5
_NEW = 4


def read_table() -> list[SupportedFamily]:
    """Return the rows of the committed table."""
    with TABLE.open(newline="") as file:
        return [SupportedFamily(**row) for row in csv.DictReader(file, delimiter="\t")]


def measure(family: str) -> list[SupportedFamily]:
    """Return the row of a family; two rows for an encoder-decoder."""
    module: Any = random_module(family)
    rows = []
    for stack in ("encoder", "decoder") if module.config.is_encoder_decoder else (None,):
        name = family if stack is None else f"{family}:{stack}"
        try:
            model = wrap_module(module, name=name, stack=stack)
        except LayerScopeError as error:
            rows.append(SupportedFamily(name, stack or "", _words(error)))
        else:
            kind = stack or ("decoder" if model.architecture.causal else "encoder")
            rows.append(
                SupportedFamily(name, kind, _hooks(model), _schedules(model), _generation(model), *_others(model))
            )
    return rows


def _words(error: LayerScopeError) -> str:
    """Return the reason in an error: without the name of the model, and in one line."""
    return str(error).partition(": ")[2].replace("\n", " ")


def _off(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def _inputs(model: Model) -> dict[str, Any]:
    return model.inputs(_IDS, torch.ones_like(_IDS))


def _spec(model: Model) -> CaptureSpec:
    return CaptureSpec(tuple(range(model.depth + 1)), final_norm=model.final_norm is not None)


def _captured(model: Model, backend: str) -> list[torch.Tensor]:
    with backend_for(backend, model).session(model, _spec(model)) as run:
        states = run(TextInputs(_IDS, torch.ones_like(_IDS)))
    return states.hidden + ([] if states.final_norm is None else [states.final_norm])


def _hooks(model: Model) -> str:
    expected = states_by_hand(model.trunk, model.blocks, model.final_norm, **_inputs(model))
    same = all(map(torch.equal, _captured(model, "hooks"), expected))
    return "yes" if same else "the states differ from what hooks hear"


def _stages(model: Model) -> tuple[tuple[int, ...], ...]:
    """Return stages with two blocks side by side and one that runs twice."""
    return ((0,), (2, 1), (1,), *((block,) for block in range(3, model.depth)))


def _schedules(model: Model) -> str:
    expected = run_by_hand(model.trunk, model.blocks, _stages(model), **_inputs(model))
    try:
        with scheduled(model, _stages(model)), torch.no_grad():
            got = model.trunk(**_inputs(model))[0]
    except LayerScopeError as error:
        return _words(error)
    return "yes" if _off(got, expected) < _ROUNDING else "a schedule differs from the blocks run by hand"


def _generation(model: Model) -> str:
    module: Any = model.module
    if not model.architecture.causal or not getattr(module, "can_generate", bool)():
        return ""
    cached = cache_use(model).steps
    found = []
    for use_cache in (cached, False):
        with scheduled(model, _stages(model)), torch.no_grad():
            given = {"input_ids": _IDS, "attention_mask": torch.ones_like(_IDS), "use_cache": use_cache}
            options = {"max_new_tokens": _NEW, "do_sample": False, "output_logits": True}
            try:
                found.append(module.generate(**given, **options, return_dict_in_generate=True))
            except (RuntimeError, ValueError, TypeError, AttributeError):
                return "refused by the model's own generate, which needs more than a text"
    same = torch.equal(found[0].sequences, found[1].sequences)
    near = _off(torch.stack(found[0].logits), torch.stack(found[1].logits)) < 3e-5
    if not (same and near):
        return "cached generation differs from recomputation"
    return "cached" if cached else "without a cache"


def _others(model: Model) -> Iterator[str]:
    expected = _captured(model, "hooks")
    for backend in BACKENDS:
        if backend != "hooks":
            try:
                got = _captured(model, backend)
            except LayerScopeError as error:
                yield _words(error)
            else:
                same = all(_off(one, other) < _ROUNDING for one, other in zip(got, expected, strict=True))
                yield "yes" if same else "its states differ from those of the hooks backend"


def main() -> None:
    """Measure the named families and print them, or all of the table and write it."""
    transformers.logging.set_verbosity_error()
    names = sys.argv[1:]
    known = names or list(dict.fromkeys(row.family.partition(":")[0] for row in read_table()))
    rows = [row for name in known for row in measure(name)]
    with sys.stdout if names else TABLE.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([field.name for field in fields(SupportedFamily)])
        writer.writerows(map(astuple, rows))


if __name__ == "__main__":
    main()
