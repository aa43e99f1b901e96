"""A task of lm-eval with its requests, and the right answers by its definition. Imports lm-eval, but no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask, Task

from layerscope.errors import TextsError
from layerscope.evaluation.lm_eval.isolation import RandomState

__all__ = ["LmEvalTask"]


@dataclass(frozen=True)
class LmEvalTask:
    """A task of lm-eval and its requests.

    Attributes
    ----------
    name
        lm-eval's name of the task.
    task
        lm-eval's own object.
    limit
        Maximum number of examples; None for all.
    requests
        Requests to a model, all of one kind, in lm-eval's order, each as often as it must be answered.
    random_state
        State of the process's random generators before the requests were built.
    """

    name: str
    task: Task
    limit: int | None
    requests: tuple[Instance, ...]
    random_state: RandomState

    @property
    def kind(self) -> str:
        """``loglikelihood``, ``loglikelihood_rolling`` or ``generate_until``."""
        return str(self.requests[0].request_type)

    @property
    def documents(self) -> list[list[Instance]]:
        """The requests of each example."""
        documents: dict[int, list[Instance]] = {}
        for request in self.requests:
            documents.setdefault(request.doc_id, []).append(request)
        return list(documents.values())

    @property
    def likeliest_is_right(self) -> bool:
        """Whether an example is right when its right choice is the likeliest, or its continuation the greedy one."""
        return (
            isinstance(self.task, ConfigurableTask)
            and not callable(self.task.config.process_results)
            and not self.task.config.filter_list
        )

    def choices(self, requests: Sequence[Instance]) -> tuple[int, list[int]]:
        """Return the number of choices of an example, and the right ones.

        Raises
        ------
        TextsError
            The right answer is not among the choices.
        """
        task, document = self.task, requests[0].doc
        if not self._is_multiple_choice:
            is_single = len(requests) == 1 and self.kind == "loglikelihood"
            return len(requests), [0] if is_single else []
        choices = list(task.doc_to_choice(document))
        target: Any = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
        targets = target if isinstance(target, list) else [target]
        numbers = [choices.index(right) if right in choices else -1 for right in targets if isinstance(right, str)]
        numbers += [int(right) for right in targets if isinstance(right, int)]
        golds = [number for number in numbers if 0 <= number < len(choices)]
        if not golds and not callable(task.config.process_results):
            # lm-eval would count every answer as wrong, and there would be no loss.
            raise TextsError(
                f"lm-eval:{self.name} {requests[0].doc_id}: the right answer, {target!r}, is not one of {len(choices)} choices.\n"
                "Correct the data, or leave the example out (process_docs) in a definition of your own (--include-path)."
            )
        return len(choices), golds

    def byte_lengths(self, requests: Sequence[Instance], choices: int) -> tuple[int, ...]:
        """Return the UTF-8 length of each choice, without the space that lm-eval puts before it; at least 1."""
        if self._is_multiple_choice:
            texts = list(self.task.doc_to_choice(requests[0].doc))
        else:
            texts = [str(request.args[-1]) for request in requests[:choices]]
        return tuple(max(1, len(text.encode())) for text in texts)

    @property
    def _is_multiple_choice(self) -> bool:
        return isinstance(self.task, ConfigurableTask) and self.task.OUTPUT_TYPE == "multiple_choice"
