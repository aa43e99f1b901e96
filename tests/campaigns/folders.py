"""Campaign: capture from hostile model folders.

A folder must be refused in at most two lines, or give the states of the intact folder, if the damage does not affect them. A
folder that loads as another model is a fault, unless `DEFINITIONS` has its case.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.campaigns import comparisons, folder_damages, processes, tokenizer_damages
from tests.campaigns.report import Trial, run
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

CASES = folder_damages.CASES | tokenizer_damages.CASES
RIGHT = (processes.REFUSED, "same states", "another model, by right")
DEFINITIONS = {"tokenizer: one id for all"}
"""Cases that validly define another model: a vocabulary may give several pieces one id."""


def prepare() -> None:
    """Write the intact folders, and a capture of each."""
    Path("texts.txt").write_text("w1 w2 aaaa w3\nw5\n")
    for name, family in {
        "llama": "llama",
        "sharded": "llama",
        "bin": "llama",
        "gpt2": "gpt2",
        "qwen2": "qwen2",
    }.items():
        module = tiny_module(family)
        module.save_pretrained(name, max_shard_size="100KB" if name == "sharded" else "1GB")
        word_tokenizer().save_pretrained(name)
        if name == "bin":
            Path(name, "model.safetensors").unlink()
            torch.save(module.state_dict(), Path(name, "pytorch_model.bin"))
        processes.warm("capture", name, "--texts", "texts.txt", "--output", f"{name}.h5")
    assert Path("sharded", "model-00001-of-00002.safetensors").exists()


def trials(count: int, seed: int) -> Iterator[Trial]:
    """Try `count` cases in random order."""
    prepare()
    names = list(CASES)
    random.Random(seed).shuffle(names)
    for name in names[:count]:
        yield attempt(name)


def attempt(name: str) -> Trial:
    """Make a hostile folder, and capture from it."""
    case = CASES[name]
    folder, output = Path("hostile"), Path("hostile.h5")
    shutil.copytree(case.sound, folder)
    case.change(folder)
    ending = processes.run("capture", str(folder), "--texts", "texts.txt", "--output", str(output))
    how = ending.name
    if how == processes.DONE:
        same = comparisons.same_states(output, Path(f"{case.sound}.h5"))
        how = "same states" if same else "another model, by right" if name in DEFINITIONS else "another model"
    shutil.rmtree(folder)
    for left in (output, *Path().glob("elsewhere-*")):
        left.unlink(missing_ok=True)
    return Trial(case.group, how, f"{name}: {ending.said[-300:]}")


if __name__ == "__main__":
    run("hostile model folders", RIGHT, trials, len(CASES))
