"""Scores of many schedules at once, against each prompt run by itself through the scheduled model."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerscope.evaluation.prompt_batches import build_batch, plan_prompt_batches
from layerscope.evaluation.prompts import Prompt
from layerscope.evaluation.scoring import PromptScores, score_batch
from layerscope.execution.scheduled import scheduled
from layerscope.models.length_dependence import LengthDependence
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import parse_schedule
from layerscope.schedules.tree import new_block_calls, prefix_tree
from layerscope.texts.batches import plan_batches
from tests.families import DEPTH, ENCODERS, FAMILIES, VOCABULARY, tiny_model
from tests.length_models import logits_alone, scaled_model

DECODERS = [family for family in FAMILIES if family not in ENCODERS]
SPECS = ["identity", "skip:0", "reverse:0", "parallel:0", "looped_parallel:0:loops=2", "drop:3", "2 2 0 (1|3) 0-3"]
SCHEDULES = [parse_schedule(spec, DEPTH)[1] for spec in SPECS]


def drawn_prompts(seed: int = 0) -> list[Prompt]:
    """Contexts longer and shorter than the sliding windows, with one continuation or several, of one token or more."""
    generator = np.random.default_rng(seed)

    def tokens(length: int) -> tuple[int, ...]:
        return tuple(generator.integers(2, VOCABULARY, length).tolist())

    single = [Prompt(tokens(length), (tokens(more),)) for length, more in ((1, 1), (9, 3), (4, 2), (12, 1))]
    several = [
        Prompt(tokens(length), tuple(tokens(more) for more in lengths))
        for length, lengths in ((8, (1, 4, 2)), (3, (2, 2)), (11, (1, 1)), (1, (3, 1, 2, 5)))
    ]
    return single[:2] + several[:2] + single[2:] + several[2:]


def scored(
    model: Model, prompts: list[Prompt], schedules: list[Schedule], batch_tokens: int, fuse: int = 1
) -> list[dict[tuple[int, int], tuple[float, bool]]]:
    """All scores, by prompt and continuation, for each schedule."""
    found: list[dict[tuple[int, int], tuple[float, bool]]] = [{} for _ in schedules]
    for batch in plan_prompt_batches(prompts, batch_tokens, model.length_dependence):
        layout = build_batch(prompts, [0] * len(prompts), batch, model.pad_id, model.length_dependence)

        def finished(run: int, scores: PromptScores, seconds: float, batch: tuple[int, ...] = batch) -> None:
            assert seconds >= 0
            for line, prompt in enumerate(batch):
                for number in range(len(prompts[prompt].continuations)):
                    found[run][prompt, number] = (
                        float(scores.log_likelihood[line, number]),
                        bool(scores.greedy[line, number]),
                    )
                rest = scores.log_likelihood[line, len(prompts[prompt].continuations) :]
                assert np.isnan(rest).all()

        score_batch(model, layout, prefix_tree(schedules), finished, fuse=fuse)
    return found


def by_itself(model: Model, prompt: Prompt, number: int, schedule: Schedule) -> tuple[float, bool]:
    """One continuation, unpadded, uncached, through the model's own forward."""
    continuation = prompt.continuations[number]
    ids = torch.tensor([[*prompt.context, *continuation]])
    with scheduled(model, schedule), torch.no_grad():
        logits = model.module(ids, use_cache=False).logits[0].double()
    said = logits.log_softmax(-1)[len(prompt.context) - 1 : -1]
    target = torch.tensor(continuation)
    return float(said[range(len(target)), target].sum()), bool((said.argmax(-1) == target).all())


@pytest.mark.parametrize("family", DECODERS)
def test_every_family_scores_as_each_prompt_by_itself(family: str) -> None:
    model, prompts = tiny_model(family), drawn_prompts()
    for schedule, found in zip(SCHEDULES, scored(model, prompts, SCHEDULES, batch_tokens=64), strict=True):
        assert set(found) == {(i, j) for i, prompt in enumerate(prompts) for j in range(len(prompt.continuations))}
        for (prompt, number), (likelihood, greedy) in found.items():
            expected, right = by_itself(model, prompts[prompt], number, schedule)
            assert likelihood == pytest.approx(expected, abs=1e-4), (str(schedule), prompt, number)
            assert greedy == right


def test_together_equals_each_alone_bit_for_bit() -> None:
    model, prompts = tiny_model("gemma3_text"), drawn_prompts(1)
    together = scored(model, prompts, SCHEDULES, batch_tokens=40)
    for schedule, found in zip(SCHEDULES, together, strict=True):
        assert scored(model, prompts, [schedule], batch_tokens=40) == [found]


def test_each_distinct_beginning_is_run_once_and_the_head_where_it_is_scored() -> None:
    model = tiny_model("llama")
    prompts = [prompt for prompt in drawn_prompts(2) if len(prompt.continuations) == 1]
    calls, rows = [0], [0]
    handles = [block.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1)) for block in model.blocks]
    head = model.module.lm_head.register_forward_hook(
        lambda module, args, output: rows.__setitem__(0, rows[0] + output.shape[0] * output.shape[1])
    )
    try:
        scored(model, prompts, SCHEDULES, batch_tokens=10_000)
    finally:
        for handle in (*handles, head):
            handle.remove()
    assert calls[0] == sum(new_block_calls(SCHEDULES))
    assert rows[0] == len(SCHEDULES) * sum(len(prompt.continuations[0]) for prompt in prompts)


def test_shared_contexts_are_computed_once() -> None:
    """Stems and branches together hold no token twice."""
    prompts = [Prompt((5, 6, 7, 8, 9), ((10, 11), (12, 13), (14,)))]
    layout = build_batch(prompts, [1], (0,), pad_id=0)
    assert layout.texts[0][0].tolist() == [[5, 6, 7, 8, 9]]
    assert layout.branches is not None
    assert layout.branches[0].tolist() == [[10], [12]]
    assert layout.prefix_of.tolist() == [0, 0]
    assert layout.places.tolist() == [4, 5, 4, 6, 4]
    assert layout.seen.tolist() == [1, 2, 3, 4, 6], "the context but its first token, and the right choice"


@pytest.mark.parametrize("scaling", ["longrope", "dynamic", "default"])
def test_scores_do_not_depend_on_the_batch(scaling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts, choices and whole texts on both sides of the border at which the model changes."""
    model = scaled_model(scaling, monkeypatch)
    generator = np.random.default_rng(0)

    def tokens(length: int) -> tuple[int, ...]:
        return tuple(generator.integers(2, VOCABULARY, length).tolist())

    shapes = [
        (5, (1, 2, 9)),
        (8, (1, 1)),
        (8, (1, 2)),
        (20, (3, 5)),
        (3, (2, 2)),
        (4, (3,)),
        (8, (1,)),
        (20, (4,)),
        (7, (2,)),
    ]
    prompts = [Prompt(tokens(context), tuple(map(tokens, more))) for context, more in shapes]
    schedules = [parse_schedule(spec, DEPTH)[1] for spec in ("identity", "2 1 3")]
    for budget in (1, 10_000):
        found = scored(model, prompts, schedules, budget)
        for (prompt, number), (likelihood, _) in found[0].items():
            context, continuation = prompts[prompt].context, prompts[prompt].continuations[number]
            logits = logits_alone(scaling, [*context, *continuation[:-1]]).log_softmax(-1)
            wanted = logits[range(len(context) - 1, len(logits)), list(continuation)].sum()
            assert likelihood == pytest.approx(float(wanted), abs=1e-4), (prompt, number)
        assert found[1] != found[0]


def test_choices_that_cross_a_border_are_whole_sequences() -> None:
    prompts = [Prompt((5,) * 7, ((6,), (6, 7), (6, 7, 8))), Prompt((5,) * 3, ((6, 7), (8, 9)))]
    border = LengthDependence(borders=(8,))
    assert list(plan_prompt_batches(prompts, 100)) == [(0, 1)]
    assert list(plan_prompt_batches(prompts, 100, border)) == [(1,), (0,)]
    layout = build_batch(prompts, [2, 0], (0,), 0, border)
    assert [ids.shape for ids, _ in layout.texts] == [(1, 7), (1, 8), (1, 9)]
    assert layout.branches is None
    assert layout.places.tolist() == [6, 13, 14, 21, 22, 23]
    assert layout.seen.tolist() == list(range(16, 24)), "the right one's text but its first token"
    assert list(plan_prompt_batches(prompts, 100, LengthDependence(alone=True))) == [(0,), (1,)]


def test_the_model_is_left_as_it_was_when_something_fails() -> None:
    model, prompts = tiny_model("llama"), drawn_prompts(3)
    classes, training = [type(block) for block in model.blocks], model.module.training
    model.module.train()
    try:

        def failing(run: int, scores: PromptScores, seconds: float) -> None:
            raise RuntimeError("enough")

        layout = build_batch(prompts, [0] * len(prompts), next(plan_prompt_batches(prompts, 64)), 0)
        with pytest.raises(RuntimeError, match="enough"):
            score_batch(model, layout, prefix_tree(SCHEDULES), failing)
        assert [type(block) for block in model.blocks] == classes
        assert all(part.training for part in model.module.modules())
    finally:
        model.module.train(training)


def test_batches_hold_every_prompt_once() -> None:
    prompts = drawn_prompts(4)
    for budget in (1, 20, 1000):
        batches = list(plan_prompt_batches(prompts, budget))
        assert sorted(number for batch in batches for number in batch) == list(range(len(prompts)))
        for batch in batches:
            assert len({len(prompts[number].continuations) > 1 for number in batch}) == 1


def test_batches_are_parted_where_that_spares_padding() -> None:
    """A hundred short sequences do not ride with the long ones; a few that are nearly as long do."""
    lengths = [60] * 4 + [58] * 3 + [10] * 20
    prompts = [Prompt((5,) * length, ((6,),)) for length in lengths]
    assert [len(batch) for batch in plan_prompt_batches(prompts, 2048)] == [7, 20]
    assert [len(batch) for batch in plan_prompt_batches(prompts[:7] + prompts[7:9], 2048)] == [9], "two are too few"


@given(st.lists(st.integers(1, 90), min_size=1, max_size=60), st.sampled_from([64, 500, 2048]))
def test_parting_never_costs_padding(lengths: list[int], budget: int) -> None:
    prompts = [Prompt((5,) * length, ((6,),)) for length in lengths]
    batches = list(plan_prompt_batches(prompts, budget))
    greedy = list(plan_batches(np.array(lengths), budget))
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    padded = [len(batch) * max(lengths[number] for number in batch) for batch in batches]
    assert all(size <= budget or len(batch) == 1 for size, batch in zip(padded, batches, strict=True))
    assert sum(padded) + 128 * (len(batches) - len(greedy)) <= sum(
        len(batch) * max(lengths[number] for number in batch) for batch in greedy
    )


@pytest.mark.real
def test_the_known_lambada_figure_form(smollm2: Model) -> None:
    """Perplexity of a schedule falls out of the same engine that runs the model whole: identity equals a plain forward."""
    ids = tuple(smollm2.tokenizer("The river rose in the night, and by morning the road was under")["input_ids"])
    target = tuple(smollm2.tokenizer(" water")["input_ids"])
    prompts = [Prompt(ids, (target,))]
    found = scored(smollm2, prompts, [parse_schedule("identity", 30)[1]], batch_tokens=512)[0][0, 0]
    with torch.no_grad():
        logits = smollm2.module(torch.tensor([[*ids, *target]])).logits[0].double()
    said = logits.log_softmax(-1)[len(ids) - 1 : -1]
    assert found[0] == pytest.approx(float(said[range(len(target)), torch.tensor(target)].sum()), rel=1e-5)


@pytest.mark.parametrize("family", [*DECODERS, "long rope"])
def test_fused_schedules_have_the_scores_of_single_ones(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = scaled_model("longrope", monkeypatch) if family == "long rope" else tiny_model(family)
    prompts, schedules = drawn_prompts(), [*SCHEDULES, *(parse_schedule(f"drop:{block}", DEPTH)[1] for block in (1, 2))]
    alone, fused = (scored(model, prompts, schedules, 64, fuse) for fuse in (1, 3))
    for one, other in zip(alone, fused, strict=True):
        assert one.keys() == other.keys()
        for key, (expected, greedy) in one.items():
            assert other[key] == (pytest.approx(expected, rel=1e-5, abs=1e-5), greedy)
