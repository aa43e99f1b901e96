"""Many schedules as one tree of their stages: whatever begins alike is run once.

Pure data; `layerscope.execution` walks it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from layerscope.schedules.schedule import Schedule, Stage

__all__ = ["Node", "new_block_calls", "prefix_tree"]


@dataclass
class Node:
    """A place in the tree: the stream after the stages on the way to it.

    Attributes
    ----------
    stage
        The stage that leads here; empty at the root, which is state 0.
    level
        How many stages that makes.
    first
        The first schedule that passes here.
    ends
        The schedules that end here, by their place in the list.
    children
        What runs next, in the order in which schedules first asked for it.
    """

    stage: Stage
    level: int
    first: int
    ends: list[int] = field(default_factory=list)
    children: dict[Stage, "Node"] = field(default_factory=dict)

    def __iter__(self) -> Iterator["Node"]:
        """Go through this node and all below it, depth first."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.children.values()))


def prefix_tree(schedules: Sequence[Schedule]) -> Node:
    """Join schedules that begin alike.

    Examples
    --------
    >>> root = prefix_tree([Schedule([(0,), (1,), (2,)]), Schedule([(0,), (2,), (1,)])])
    >>> [(node.level, node.stage, node.ends) for node in root]
    [(0, (), []), (1, (0,), []), (2, (1,), []), (3, (2,), [0]), (2, (2,), []), (3, (1,), [1])]
    """
    root = Node((), 0, first=0)
    for number, schedule in enumerate(schedules):
        node = root
        for stage in schedule:
            if stage not in node.children:
                node.children[stage] = Node(stage, node.level + 1, first=number)
            node = node.children[stage]
        node.ends.append(number)
    return root


def new_block_calls(schedules: Sequence[Schedule]) -> list[int]:
    """Return for each schedule the block calls that no earlier one in the list has made; they sum to those of the tree.

    Examples
    --------
    >>> new_block_calls([Schedule([(0,), (1,), (2,)]), Schedule([(0,), (1, 2)]), Schedule([(0,), (1,), (2,)])])
    [3, 2, 0]
    """
    calls = [0] * len(schedules)
    for node in prefix_tree(schedules):
        calls[node.first] += len(node.stage)
    return calls
