"""Running a model under a schedule."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from layerscope.execution.slots import Call, block_caller
from layerscope.execution.taps import BlockCalls, Stream, tapped
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule, Stage
from layerscope.schedules.spec import Spec, parse_schedule

__all__ = ["mean_stream", "scheduled"]

Observe = Callable[[int, Stream], None]


@contextmanager
def scheduled(
    model: Model,
    schedule: Schedule | Spec | str | tuple[Stage, ...],
    observe: Observe | None = None,
) -> Iterator[Schedule]:
    """Run a model's blocks under a schedule, in every forward pass, training step or ``generate`` inside the context.

    The model's own forward runs, unforked: embeddings, masks, caches, final norm and head are its own, and the identity
    schedule is bitwise the model itself. Names, tensors and modules stay the model's, so optimizers, PEFT, accelerate and
    ``state_dict`` see what they always see. With a key-value cache each block call has a slot of its own: cached
    generation equals recomputing everything. Hooks on a block run when the block runs, which may be never or many times.

    Parameters
    ----------
    model
        The model; use its ``module`` inside.
    schedule
        A SPEC such as ``skip:12`` or ``"0-8 (9|10|11)*3 12-29"``, or stages of block numbers. The blocks of a stage read
        the same stream, and the mean of their outputs goes on.
    observe
        Called in each forward pass as ``observe(number, stream)`` with the stream entering the first stage (number 0) and
        leaving each stage (1, 2, …).

    Yields
    ------
    Schedule
        The stages that run.

    Raises
    ------
    UsageError
        A malformed SPEC; a model under a schedule already; inside, ``output_hidden_states`` or ``output_attentions``, or a
        cache filled outside.
    ScheduleError
        A schedule that a model of this depth has not.

    Notes
    -----
    The variants are those of arXiv 2407.09298.

    Examples
    --------
    >>> import transformers
    >>> from layerscope.models.loading import wrap_module
    >>> config = transformers.LlamaConfig(
    ...     hidden_size=16, intermediate_size=16, num_hidden_layers=6, num_attention_heads=2, vocab_size=20
    ... )
    >>> model = wrap_module(transformers.LlamaForCausalLM(config).eval(), name="tiny")
    >>> with scheduled(model, "skip:1") as schedule, torch.no_grad():
    ...     logits = model.module(torch.tensor([[3, 4, 5]])).logits
    >>> str(schedule), tuple(logits.shape)
    ('0-1 5', (1, 3, 20))
    """
    _, stages = parse_schedule(schedule, model.depth)

    def program(calls: BlockCalls) -> Stream:
        with block_caller(calls, stages) as call:
            return _run(stages, call, calls.stream, observe)

    with tapped(model, program):
        yield stages


def _run(schedule: Schedule, call: Call, stream: Stream, observe: Observe | None) -> Stream:
    made = 0  # block calls so far: which slot is next
    if observe is not None:
        observe(0, stream)
    for level, stage in enumerate(schedule, start=1):
        stream = mean_stream([partial(call, made + place, block, stream) for place, block in enumerate(stage)])
        made += len(stage)
        if observe is not None:
            observe(level, stream)
    return stream


def mean_stream(outputs: Sequence[Callable[[], Stream]]) -> Stream:
    """Average what the blocks of a stage give; a single output comes back as it is.

    They are run one after another, and half precision is summed in float32, so that the outputs of a wide stage never stand
    side by side.

    Examples
    --------
    >>> mean_stream([lambda: torch.zeros(1, 1, 2), lambda: torch.ones(1, 1, 2)])
    tensor([[[0.5000, 0.5000]]])
    """
    total = outputs[0]()
    if len(outputs) == 1:
        return total
    dtype = total.dtype
    for output in outputs[1:]:
        total = total.to(torch.promote_types(dtype, torch.float32)) + output().to(total.device)
    return (total / len(outputs)).to(dtype)
