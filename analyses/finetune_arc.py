"""Fine-tune a decoder on ARC under a schedule, and save it as a model folder for every command (Fig. 13).

The model learns the right answers of the training questions, tokenized as the benchmark scores them: one epoch at 5e-5, in
batches of 64, all weights. The schedule runs in every step. The paper does not define its loss; here it is over the tokens
of the answers. `--task` accepts any other task with right answers::

    python analyses/finetune_arc.py meta-llama/Llama-2-7b-hf --schedule skip:13 --save tuned
    layerscope sweep tuned --task lm-eval:arc_challenge --schedule skip:13
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import layerscope as ls
from finetuning import Encode, checked, options_of_training, settings_of, train
from layerscope.errors import ModelError, TextsError
from layerscope.evaluation.load_task import load_task
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.models.loader_errors import silence_loaders
from layerscope.progress import progress
from layerscope.provenance import provenance
from layerscope.texts.batches import pad_batch
from scripts import ended
from train_family import finished, save

RATE = 5e-5
UNLEARNED = -100  # the label of tokens that transformers leaves out of the loss


class Answer(NamedTuple):
    """The tokens of a question and its right answer; the first `context_length` of them are the question."""

    ids: tuple[int, ...]
    context_length: int


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = options_of_training(__doc__.split("\n")[0], epochs=1, batch=64, rate=f"{RATE}")
    parser.add_argument("--task", default="lm-eval:local_arc_challenge_train", help="builtin:NAME or lm-eval:NAME")
    parser.add_argument("--include-path", type=Path, default=Path(__file__).parent / "tasks", help="for lm-eval")
    parser.add_argument("--schedule", default="identity", help="schedule, such as skip:12")
    parser.add_argument("--save", type=Path, required=True, help="folder of the fine-tuned model")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model")
    chosen = checked(parser.parse_args())
    chosen.rate = chosen.rate or RATE
    return chosen


def main() -> None:
    """Fine-tune and save, unless the folder has a finished model with the same settings."""
    chosen = options()
    settings = settings_of(chosen, "save", "overwrite", "include_path")
    if finished(chosen.save, settings, chosen.overwrite):
        print(f"{chosen.save}: already trained")
        return
    model = load_model(chosen.model, dtype=chosen.dtype, device=chosen.device)
    if not model.architecture.causal:
        raise ModelError(f"{model.name} is an encoder: answers are next tokens, which only a decoder predicts")
    answers = right_answers(chosen, model)
    work = chosen.epochs * len(answers)
    with progress(chosen.task, total=work, unit="examples") as advance, ls.scheduled(model, chosen.schedule):
        train(model, answers, encoder(model), chosen, advance)
    with silence_loaders():
        save(chosen.save, model.module, model.tokenizer, {"settings": settings, "provenance": json.loads(provenance())})
    print(f"{chosen.save}: {len(answers)} answers of {chosen.task}, {chosen.epochs} times, under {chosen.schedule}")


def right_answers(chosen: argparse.Namespace, model: Model) -> list[Answer]:
    """Return the right answer to each question of a task."""
    task = load_task(chosen.task, model, chosen.limit, chosen.include_path)
    places = [task.right(question) for question in task.items]
    if task.kind == "rolling" or not all(places):
        raise TextsError(f"{chosen.task}: some examples have no right answer to learn; give a task where all have one")
    right = [(task.prompts[prompt], number) for ((prompt, number),) in places]
    return [Answer(prompt.context + prompt.continuations[number], len(prompt.context)) for prompt, number in right]


def encoder(model: Model) -> Encode:
    """Return a function that encodes a batch of answers."""

    def encode(answers: Sequence[Answer]) -> dict[str, Any]:
        ids, mask = pad_batch([np.array(answer.ids) for answer in answers], model.pad_id, "right")
        context_length = torch.tensor([[answer.context_length] for answer in answers])
        learned = (mask == 1) & (torch.arange(ids.shape[1]) >= context_length)
        return model.inputs(ids, mask) | {"labels": ids.where(learned, UNLEARNED).to(model.device)}

    return encode


if __name__ == "__main__":
    ended(main)
