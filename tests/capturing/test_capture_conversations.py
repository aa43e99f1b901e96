"""Conversations and continuations in a capture: roles, generated tokens, and the tokens that become rows."""

import numpy as np
import pytest
import torch
import xarray
from tokenizers.processors import TemplateProcessing

import layerscope as ls
from layerscope.capturing.token_selection import TokenSelection
from layerscope.errors import CaptureError, MeasureError, ModelError, TextsError, UsageError
from layerscope.models.loading import wrap_module
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ' ' + message['content'] + ' w9 ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'w8 ' }}{% endif %}"
)
TALKS = [
    {"id": "a", "messages": [{"role": "w1", "content": "w5 w6"}, {"role": "w2", "content": "w7"}]},
    {"id": "b", "messages": [{"role": "w1", "content": "w4"}]},
]
TEXTS = ["w1 w2 w3 w4", "w5", "w6 w7 w8"]


@pytest.fixture(scope="module")
def model():
    tokenizer = word_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return wrap_module(tiny_module("llama"), tokenizer, name="tiny")


def captured(model, texts, path, **options):
    ls.capture(model, texts, path, **options)
    with xarray.open_dataset(path, engine="h5netcdf") as dataset:
        return dataset.load()


def test_means_of_other_texts_are_not_compared(model, tmp_path):
    texts = [{"id": name, "text": text} for name, text in zip("abc", TEXTS, strict=True)]
    others = {
        "same": texts,
        "named": [texts[0] | {"id": "x"}, *texts[1:]],
        "longer": [texts[0] | {"text": "a b c d e f"}, *texts[1:]],
    }
    for name, source in others.items():
        ls.capture(model, source, tmp_path / f"{name}.h5", tokens="mean")
    first = tmp_path / "same.h5"
    assert ls.analyze(first, first, measures=["cosine"]).attrs["aligned_tokens"] == 3
    for name, said in (
        ("named", "row 0 is the mean of 'a' .* and of 'x'"),
        ("longer", r"of 'a' \(4 tokens\) and of 'a' \(6 tokens\)"),
    ):
        for open_one in (str, ls.open_capture):
            with pytest.raises(MeasureError, match=said):
                ls.analyze(first, open_one(tmp_path / f"{name}.h5"), measures=["cosine"])


@pytest.mark.parametrize("backend", ["hooks", "nnsight"])
@pytest.mark.parametrize("schedule", ["identity", "skip:1"])
def test_selected_tokens_are_those_of_the_whole_capture(model, tmp_path, backend, schedule):
    options = {"backend": backend, "schedule": schedule, "batch_tokens": 6, "final_norm": True}
    whole = captured(model, TEXTS, tmp_path / "whole.h5", **options)
    first = captured(model, TEXTS, tmp_path / "first.h5", tokens="first", **options)
    np.testing.assert_array_equal(first.hidden, whole.hidden[whole.position.values == 0])
    mean = captured(model, TEXTS, tmp_path / "mean.h5", tokens="mean", token_strings=True, **options)
    for name in ("hidden", "final_norm"):
        expected = [whole[name].values[whole.sequence_index.values == n].mean(0, dtype=np.float64) for n in range(3)]
        np.testing.assert_allclose(mean[name], np.stack(expected), rtol=1e-6, atol=1e-7)
    assert mean.position.values.tolist() == mean.token_id.values.tolist() == [-1] * 3
    assert mean.token_string.values.tolist() == [""] * 3
    assert mean.sequence_length.equals(whole.sequence_length)


def test_means_are_measured_and_resumed(model, tmp_path):
    path = tmp_path / "mean.h5"
    report = ls.capture(model, TEXTS, path, tokens="mean")
    assert report.rows == 3
    again = ls.capture(model, TEXTS, path, tokens="mean", resume=True)
    assert again.rows == 3
    with xarray.open_dataset(path, engine="h5netcdf") as dataset:
        states = torch.tensor(dataset.hidden.values)
    expected = torch.cosine_similarity(states[:, 0], states[:, 1], dim=-1).mean()
    assert float(ls.analyze(path, measures=["cosine"]).cosine[0, 1]) == pytest.approx(float(expected), rel=1e-5)
    warning = ls.analyze(path, measures=["cosine"]).mean_warning
    assert warning.startswith("the rows are means over the tokens of a text")
    with pytest.raises(MeasureError, match="none of its 3 means, which contain the first tokens, is left"):
        ls.analyze(path, exclude_first=1)
    assert float(ls.analyze_model(model, TEXTS, measures=["cosine"], tokens="mean").cosine[0, 1]) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_roles_of_a_conversation(model, tmp_path):
    whole = captured(model, TALKS, tmp_path / "chat.h5", chat=True, token_strings=True)
    assert whole.token_string.values.tolist() == ["w1", "w5", "w6", "w9", "w2", "w7", "w9", "w1", "w4", "w9"]
    assert whole.role.values.tolist() == ["w1"] * 4 + ["w2"] * 3 + ["w1"] * 3
    assert whole.sequence_id.values.tolist() == ["a", "b"]
    part = captured(model, TALKS, tmp_path / "part.h5", chat=True, tokens="role:w2")
    np.testing.assert_array_equal(part.hidden, whole.hidden[4:7])
    assert part.role.values.tolist() == ["w2"] * 3
    with pytest.raises(CaptureError, match="no token has this role; the conversations have w1, w2"):
        ls.capture(model, TALKS, tmp_path / "none.h5", chat=True, tokens="role:user")
    assert not (tmp_path / "none.h5").exists()


@pytest.mark.parametrize("schedule", ["identity", "looped_parallel:1:loops=2"])
def test_a_continuation_is_captured_in_one_clean_pass(model, tmp_path, schedule):
    got = captured(model, TEXTS, tmp_path / "made.h5", generate=5, schedule=schedule, batch_tokens=12)
    assert got.generated.dtype == bool
    start = 0
    for number, text in enumerate(TEXTS):
        ids = model.tokenizer(text)["input_ids"]
        rows = slice(start, start + int(got.sequence_length[number]))
        start = rows.stop
        marks = got.generated.values[rows]
        assert marks.tolist() == [False] * len(ids) + [True] * (len(marks) - len(ids))
        with torch.no_grad(), ls.scheduled(model, schedule):
            for _ in range(int(marks.sum())):  # by hand, without a cache
                ids = [*ids, int(model.module(torch.tensor([ids])).logits[0, -1].argmax())]
        assert got.token_id.values[rows].tolist() == ids
    plain = [got.token_id.values[got.sequence_index.values == number].tolist() for number in range(3)]
    again = captured(model, plain, tmp_path / "plain.h5", schedule=schedule, batch_tokens=12)
    np.testing.assert_array_equal(got.hidden, again.hidden)
    only = captured(model, TEXTS, tmp_path / "only.h5", generate=5, schedule=schedule, tokens="generated")
    np.testing.assert_allclose(only.hidden, got.hidden[got.generated.values], rtol=1e-5, atol=1e-6)


def test_the_states_are_those_of_cached_decoding(model, tmp_path):
    got = captured(model, ["w1 w2 w3"], tmp_path / "made.h5", generate=6)
    ids, cache, states = torch.tensor(got.token_id.values)[None], None, []
    block = model.blocks[-1]
    handle = block.register_forward_hook(lambda _, __, output: states.append(output))
    try:
        with torch.no_grad():
            for position in range(ids.shape[1]):
                cache = model.module(
                    ids[:, position : position + 1], past_key_values=cache, use_cache=True
                ).past_key_values
    finally:
        handle.remove()
    np.testing.assert_allclose(got.hidden[:, -1], torch.cat(states, dim=1)[0], rtol=1e-4, atol=1e-5)


def test_sampled_continuations_depend_on_the_seed_and_the_number_of_the_text(model, tmp_path):
    def made(number, texts=TEXTS, **options):
        return captured(model, texts, tmp_path / f"{number}.h5", generate=8, temperature=3.0, **options)

    one = made(1)
    assert made(2).token_id.equals(one.token_id)
    assert not made(3, seed=1).token_id.equals(one.token_id)
    alike = made(4, texts=["w1"] * 2)
    assert alike.token_id.values[alike.sequence_index.values == 0].tolist() != (
        alike.token_id.values[alike.sequence_index.values == 1].tolist()
    )


def test_a_continued_conversation(model, tmp_path):
    got = captured(model, TALKS, tmp_path / "chat.h5", chat=True, generate=2, token_strings=True)
    first = got.isel(token=got.sequence_index.values == 0)
    assert first.token_string.values[:8].tolist() == ["w1", "w5", "w6", "w9", "w2", "w7", "w9", "w8"]
    assert first.role.values.tolist()[7:] == ["assistant"] * (first.sizes["token"] - 7)
    assert first.generated.values.tolist() == [False] * 8 + [True] * (first.sizes["token"] - 8)


def test_a_text_as_long_as_the_context_is_not_continued(model, tmp_path):
    with pytest.warns(UserWarning, match="1 texts have 4 tokens, as many as fit, and were not continued"):
        got = captured(model, ["w1 w2 w3 w4", "w1"], tmp_path / "made.h5", generate=9, max_length=4)
    assert got.sequence_length.values.tolist()[0] == 4
    assert got.sequence_length.values.tolist()[1] <= 4


def test_a_text_that_begins_with_the_first_token_has_it_once(tmp_path):
    tokenizer, bos = word_tokenizer(), "w94"
    tokenizer.bos_token = bos
    number = tokenizer.convert_tokens_to_ids(bos)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, number)])
    model = wrap_module(tiny_module("llama"), tokenizer, name="tiny")
    plain = captured(model, ["w1 w2"], tmp_path / "plain.h5")
    with pytest.warns(UserWarning, match="1 texts begin with the token that the tokenizer adds; it is there once"):
        marked = captured(model, [f"{bos} w1 w2"], tmp_path / "marked.h5")
    assert marked.token_id.equals(plain.token_id)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tokens": "role:user"}, "only conversations have roles: give --chat"),
        ({"tokens": "generated"}, "give --generate N"),
        ({"tokens": "some"}, "choose all, first, last, mean, generated, sample:K with K of 1 or more, or role:NAME"),
        ({"generate": -1}, "give the most tokens to add"),
        ({"temperature": 0.5}, "--temperature is for --generate"),
        ({"generate": 2, "temperature": -1.0}, "must be a number of 0 or more"),
        ({"tokens": "mean", "spans": True}, "--spans is for texts as given"),
        ({"chat": True, "spans": True}, "--spans is for texts as given"),
    ],
)
def test_wrong_use(model, tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        ls.capture(model, TEXTS, tmp_path / "run.h5", **options)


def test_an_encoder_continues_nothing(tmp_path):
    encoder = wrap_module(tiny_module("bert"), word_tokenizer(), name="tiny")
    with pytest.raises(ModelError, match="encoder"):
        ls.capture(encoder, TEXTS, tmp_path / "run.h5", generate=3)
    with pytest.raises(TextsError, match="has no chat template"):
        ls.capture(encoder, TALKS, tmp_path / "run.h5", chat=True)
    assert list(tmp_path.iterdir()) == []


def test_positions_of_a_selection():
    roles = ["a", "b", "b"]
    for spec, expected in {
        "all": [0, 1, 2],
        "first": [0],
        "last": [2],
        "mean": [-1],
        "role:b": [1, 2],
        "role:c": [],
        "generated": [1, 2],
    }.items():
        selection = TokenSelection.parse(spec, 0, chat=True, generate=True)
        assert selection.positions(3, 0, roles=roles, prompt=1).tolist() == expected, spec
