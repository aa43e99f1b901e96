"""Many schedules as one tree of their stages: whatever begins alike is run once.

Pure data; `layerscope.execution` walks it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from layerscope.schedules.schedule import Schedule, Stage

__all__ = ["Node", "new_block_calls", "path_to", "prefix_tree", "pruned"]


@dataclass(eq=False)
class Node:
    """A place in the tree: the stream after the stages on the way to it.

    Attributes
    ----------
    stage
        The stage that leads here; empty at the root, which is state 0.
    level
        How many stages that makes.
    number
        Of the node, in the order of making: the root has 0.
    first
        The first schedule that passes here.
    ends
        The schedules that end here, by their place in the list.
    children
        What runs next, in the order in which schedules first asked for it.
    """

    stage: Stage
    level: int
    number: int
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
    """Return the part of a tree that some of its schedules need; nodes keep their numbers.

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
    """Return the nodes that a schedule of the tree passes, one a stage.

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
