"""Run a model under a layer schedule, and run many schedules over one recorded batch.

Both use the one loop over stages, `run_tree`: a single schedule is a prefix tree with one branch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Annotated

import torch
from torch import nn

from layerscope.arguments import checked
from layerscope.execution.batched_blocks import BatchedBlocks, require_one_device
from layerscope.execution.kv_slots import KVSlot, kv_slots_for, run_block
from layerscope.models.interception import BlockCalls, Stream, intercept_blocks
from layerscope.models.loading import as_model
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule, Stage
from layerscope.schedules.spec import ScheduleLike, parse_schedule
from layerscope.schedules.tree import Node, prefix_tree

__all__ = ["mean_stream", "run_tree", "scheduled"]

Observe = Callable[[int, Stream], None]


@checked
@contextmanager
def scheduled(
    model: Annotated[Model | nn.Module, "a Model, or a model of transformers in memory"],
    schedule: ScheduleLike,
    observe: Observe | None = None,
    *,
    stacked: bool = False,
) -> Iterator[Schedule]:
    """Run a model's blocks under a schedule, in every forward pass, training step or ``generate`` inside the context.

    The model's own forward runs, so embeddings, masks, caches, final norm and head are unchanged, and the identity schedule
    is bitwise equal to the model. Parameter names and modules stay the same: optimizers, PEFT, accelerate and ``state_dict``
    work as usual. With a key-value cache, each block call has its own cache slot, and cached generation equals recomputing
    all tokens. Hooks on a block run each time the block runs.

    Parameters
    ----------
    model
        The model, or its module; use the module inside the context. A module is checked each time, a model when it was loaded.
    schedule
        A SPEC such as ``skip:12`` or ``"0-8 (9|10|11)*3 12-29"``, or stages of block numbers. The blocks of a stage read
        the same stream, and the mean of their outputs enters the next stage.
    observe
        Called in each forward pass as ``observe(number, stream)`` with the stream entering the first stage (number 0) and
        leaving each stage (1, 2, …).
    stacked
        Run similar blocks of a stage as one batched call over their stacked weights. This is faster when a single block does
        not fill the hardware, as in token-by-token generation, and equal up to rounding. The weights of those blocks are in
        memory twice until the context ends. Blocks run in sequence where they differ in shape, class or mask, carry hooks or
        adapters, are in training mode or offloaded; where gradients are recorded; with a static cache; and in families that
        ``vmap`` cannot run (bloom). Weights that change inside the context are stacked again, unless they change through their
        ``data``, which leaves no trace.

    Yields
    ------
    Schedule
        The stages that run.

    Raises
    ------
    UsageError
        The SPEC is malformed, the model already runs under a schedule, or blocks to be stacked are on several devices. Inside the
        context: ``output_hidden_states`` or ``output_attentions`` is requested, or a cache was filled outside. Outside: a cache
        was filled inside.
    ScheduleError
        The schedule is not valid for a model of this depth.

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
    model = as_model(model)
    _, stages = parse_schedule(schedule, model.depth)
    if stacked:
        require_one_device(model, stages)
    tree = prefix_tree([stages])
    run_blocks = BatchedBlocks() if stacked else _run_in_sequence

    def visit(node: Node, stream: Stream) -> None:
        if observe is not None:
            observe(node.level, stream)

    def program(calls: BlockCalls) -> Stream:
        with kv_slots_for(calls, stages) as kv_slots:
            unused = iter(kv_slots)

            def run_stage(stage: Stage, stream: Stream) -> Stream:
                return mean_stream(run_blocks(calls, stage, stream, list(islice(unused, len(stage)))))

            return run_tree(tree, calls.stream, run_stage, visit)

    with intercept_blocks(model, program):
        yield stages


def run_tree(
    root: Node, start: Stream, run_stage: Callable[[Stage, Stream], Stream], visit: Callable[[Node, Stream], None]
) -> Stream:
    """Run every node of a prefix tree of schedules once, and pass each node and its stream to `visit`.

    The order is depth first, children in the order of the tree, so the first schedule finishes before any other starts. At
    most one stream a level is in memory: those of nodes with children left to run.

    Parameters
    ----------
    root
        The tree; see `layerscope.schedules.tree.prefix_tree`.
    start
        State 0 of the batch.
    run_stage
        Runs one stage: ``run_stage(stage, stream)``.
    visit
        Called as ``visit(node, stream)`` for each node, the root included.

    Returns
    -------
    Stream
        The stream of the last node: for a single schedule, its final state.

    Examples
    --------
    >>> import torch
    >>> from layerscope.schedules.schedule import Schedule
    >>> from layerscope.schedules.tree import prefix_tree
    >>> tree = prefix_tree([Schedule([(1,), (2,)]), Schedule([(1,), (1, 2)])])
    >>> last = run_tree(
    ...     tree,
    ...     torch.zeros(1, 1, 1),
    ...     run_stage=lambda stage, stream: stream + sum(stage) / len(stage),
    ...     visit=lambda node, stream: print(node.stage, stream.item(), node.ends),
    ... )
    () 0.0 []
    (1,) 1.0 []
    (2,) 3.0 [0]
    (1, 2) 2.5 [1]
    """
    stream = start
    visit(root, stream)
    pending = [(child, stream) for child in reversed(root.children.values())]
    while pending:
        node, stream = pending.pop()
        stream = run_stage(node.stage, stream)
        visit(node, stream)
        pending.extend((child, stream) for child in reversed(node.children.values()))
    return stream


def mean_stream(outputs: Iterable[Stream]) -> Stream:
    """Return the mean of the outputs of a stage's blocks; a single output is returned unchanged.

    Half precision is summed in float32. Each output is added before the next one is computed, so a wide stage needs memory
    for two streams only.

    Examples
    --------
    >>> mean_stream(torch.full((1, 1, 2), value) for value in (0.0, 1.0))
    tensor([[[0.5000, 0.5000]]])
    """
    rest = iter(outputs)
    total, count = next(rest), 1
    dtype = total.dtype
    for output in rest:
        total = total.to(torch.promote_types(dtype, torch.float32)) + output.to(total.device)
        count += 1
    return total if count == 1 else (total / count).to(dtype)


def _run_in_sequence(calls: BlockCalls, stage: Stage, stream: Stream, kv_slots: Sequence[KVSlot]) -> Iterator[Stream]:
    """Run the blocks of a stage in sequence, each when its output is requested."""
    for block, kv_slot in zip(stage, kv_slots, strict=True):
        yield run_block(calls, block, stream, kv_slot)
