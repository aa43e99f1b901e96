"""Running a model under a schedule."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from layerscope.arguments import checked
from layerscope.execution.slots import Slot, slots_of
from layerscope.execution.stages import Outputs, mean_stream, one_by_one
from layerscope.execution.taps import BlockCalls, Stream, tapped
from layerscope.execution.together import Together
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import ScheduleLike, parse_schedule

__all__ = ["scheduled"]

Observe = Callable[[int, Stream], None]


@checked
@contextmanager
def scheduled(
    model: Model,
    schedule: ScheduleLike,
    observe: Observe | None = None,
    *,
    stacked: bool = False,
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
    stacked
        Run blocks of a stage that are alike as one batched call over their stacked weights. Faster where one block alone leaves
        the hardware idle, as when writing token by token, and equal up to rounding; the weights of those blocks stand in memory
        a second time until the context ends. Blocks run one after another all the same where they differ in shape, class or
        mask, carry hooks or adapters, are in training mode or offloaded, where gradients are recorded, with a static cache,
        and in bloom. Weights that change inside are stacked anew, unless they are written into through their ``data``, which
        leaves no trace.

    Yields
    ------
    Schedule
        The stages that run.

    Raises
    ------
    UsageError
        A malformed SPEC; a model under a schedule already; inside, ``output_hidden_states`` or ``output_attentions``, or a
        cache filled outside; outside, a cache filled inside.
    ScheduleError
        A schedule that a model of this depth has not.

    Notes
    -----
    The variants are those of arXiv 2407.09298.

    Examples
    --------
    >>> import torch, transformers
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

    outputs = Together() if stacked and model.architecture.stacks else one_by_one

    def program(calls: BlockCalls) -> Stream:
        with slots_of(calls, stages) as slots:
            return _run(stages, outputs, calls, slots, observe)

    with tapped(model, program):
        yield stages


def _run(
    schedule: Schedule, outputs: Outputs, calls: BlockCalls, slots: Sequence[Slot], observe: Observe | None
) -> Stream:
    stream = calls.stream
    made = 0  # block calls so far: which slots are next
    if observe is not None:
        observe(0, stream)
    for level, stage in enumerate(schedule, start=1):
        stream = mean_stream(outputs(calls, stage, stream, slots[made : made + len(stage)]))
        made += len(stage)
        if observe is not None:
            observe(level, stream)
    return stream
