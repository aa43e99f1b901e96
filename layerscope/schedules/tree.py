"""Prefix tree of schedules, so that common leading stages run once.

The tree is plain data; `layerscope.execution` runs it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from layerscope.schedules.schedule import Schedule, Stage

__all__ = ["Node", "new_block_calls", "path_to", "prefix_tree", "pruned"]


@dataclass(eq=False)
class Node:
    """A node of the prefix tree: the stream after a sequence of stages.

    Attributes
    ----------
    stage
        Last stage of the sequence; empty at the root, which is state 0.
    level
        Number of stages of the sequence.
    number
        Number of the node in order of creation; the root is 0.
    first
        Index of the first schedule that contains this node.
    ends
        Indices of the schedules that end here.
    children
        Next nodes by their stage, in the order of the schedules.
    """

    stage: Stage
    level: int
    number: int
    first: int
    ends: list[int] = field(default_factory=list)
    children: dict[Stage, "Node"] = field(default_factory=dict)

    def __iter__(self) -> Iterator["Node"]:
        """Iterate over this node and its descendants, depth first."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.children.values()))


def prefix_tree(schedules: Sequence[Schedule]) -> Node:
    """Return the prefix tree of some schedules.

    Examples
    --------
    >>> root = prefix_tree([Schedule([(0,), (1,), (2,)]), Schedule([(0,), (2,), (1,)])])
    >>> [(node.level, node.stage, node.ends) for node in root]
    [(0, (), []), (1, (0,), []), (2, (1,), []), (3, (2,), [0]), (2, (2,), []), (3, (1,), [1])]
    """
    root = Node((), level=0, number=0, first=0)
    made = 1
    for number, schedule in enumerate(schedules):
        node = root
        for stage in schedule:
            if stage not in node.children:
                node.children[stage] = Node(stage, node.level + 1, made, first=number)
                made += 1
            node = node.children[stage]
        node.ends.append(number)
    return root


def pruned(root: Node, schedules: Collection[int]) -> Node:
    """Return the part of a tree that some of its schedules use; nodes keep their numbers.

    Examples
    --------
    >>> root = prefix_tree([Schedule([(0,), (1,), (2,)]), Schedule([(0,), (2,), (1,)])])
    >>> [(node.number, node.stage) for node in pruned(root, {1})]
    [(0, ()), (1, (0,)), (4, (2,)), (5, (1,))]
    """
    ends = [end for end in root.ends if end in schedules]
    children = {stage: pruned(child, schedules) for stage, child in root.children.items()}
    kept = {stage: child for stage, child in children.items() if child.ends or child.children}
    return Node(root.stage, root.level, root.number, root.first, ends, kept)


def path_to(root: Node, schedule: Schedule) -> list[Node]:
    """Return the nodes of a schedule in the tree, one for each stage.

    Examples
    --------
    >>> schedule = Schedule([(0,), (1,)])
    >>> [node.stage for node in path_to(prefix_tree([schedule]), schedule)]
    [(0,), (1,)]
    """
    nodes, node = [], root
    for stage in schedule:
        node = node.children[stage]
        nodes.append(node)
    return nodes


def new_block_calls(schedules: Sequence[Schedule], root: Node | None = None) -> list[int]:
    """Return the block calls of each schedule that no earlier schedule makes; they sum to the block calls of the tree.

    Parameters
    ----------
    schedules
        Schedules in order.
    root
        Their prefix tree; built here when None.

    Examples
    --------
    >>> new_block_calls([Schedule([(0,), (1,), (2,)]), Schedule([(0,), (1, 2)]), Schedule([(0,), (1,), (2,)])])
    [3, 2, 0]
    """
    calls = [0] * len(schedules)
    for node in root or prefix_tree(schedules):
        calls[node.first] += len(node.stage)
    return calls
