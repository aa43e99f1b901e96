"""Many schedules over one batch: a depth-first walk of their prefix tree, each distinct beginning run once.

Knows no model: only how a block is called.
"""

from collections.abc import Callable

from layerscope.execution.stages import mean_stream
from layerscope.execution.taps import Stream
from layerscope.schedules.tree import Node

__all__ = ["walk"]


def walk(
    root: Node, start: Stream, call: Callable[[int, Stream], Stream], visit: Callable[[Node, Stream], None]
) -> None:
    """Run every node of a prefix tree once, and show its stream.

    Depth first, children in the order of the tree, so that the first schedule is run whole before any other. At most one
    stream a level is held: those of the nodes whose children are still to come.

    Parameters
    ----------
    root
        The tree; see `layerscope.schedules.tree.prefix_tree`.
    start
        State 0 of the batch.
    call
        Runs one block: ``call(block, stream)``.
    visit
        Called as ``visit(node, stream)`` for each node, the root included.

    Examples
    --------
    >>> import torch
    >>> from layerscope.schedules.schedule import Schedule
    >>> from layerscope.schedules.tree import prefix_tree
    >>> tree = prefix_tree([Schedule([(1,), (2,)]), Schedule([(1,), (1, 2)])])
    >>> walk(
    ...     tree,
    ...     torch.zeros(1, 1, 1),
    ...     call=lambda block, stream: stream + block,
    ...     visit=lambda node, stream: print(node.stage, stream.item(), node.ends),
    ... )
    () 0.0 []
    (1,) 1.0 []
    (2,) 3.0 [0]
    (1, 2) 2.5 [1]
    """
    visit(root, start)
    pending = [(child, start) for child in reversed(root.children.values())]
    while pending:
        node, before = pending.pop()
        stream = mean_stream(call(block, before) for block in node.stage)
        visit(node, stream)
        pending.extend((child, stream) for child in reversed(node.children.values()))
