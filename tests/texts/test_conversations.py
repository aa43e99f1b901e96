"""The role of every token, with templates of different kinds, told by hand."""

import re

import numpy as np
import pandas
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from layerscope.errors import TextsError, UsageError
from layerscope.texts.conversations import TEMPLATE, read_conversation, render_conversation
from layerscope.texts.sources import open_texts
from layerscope.texts.tokens import tokenize

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|head|>' + message['role'] + '<|end|>\n\n' + message['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|end|>\n\n' }}{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' + (first if loop.first else '') + "
    "message['content'] | trim + '</turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"
)
INST = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('no role ' + message['role']) }}{% endif %}{% endfor %}"
)
SYSTEM = {"role": "system", "content": "Be brief."}
ASK, ANSWER = {"role": "user", "content": "Hello you"}, {"role": "assistant", "content": "Hi!"}


def tokenizer_with(template):
    """Return a tokenizer of single characters, so that every character has a role."""
    letters = {chr(code): code for code in range(1, 0x2FF)}
    backend = Tokenizer(models.WordLevel(letters | {"?": 0} if "?" not in letters else letters, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    return tokenizer


def parts(template, messages, **options):
    """Return the text of each run of one role, with the role."""
    tokenizer = tokenizer_with(template)
    rendered = render_conversation(tokenizer, read_conversation(messages, "here"), "here", **options)
    runs = []
    for token, role in zip(rendered.token_ids, rendered.roles, strict=True):
        text = tokenizer.convert_ids_to_tokens(token)
        if runs and runs[-1][0] == role:
            runs[-1][1] += text
        else:
            runs.append([role, text])
    return [tuple(run) for run in runs]


CASES = [
    (
        CHATML,
        [ASK, ANSWER],
        [
            ("system", "<|im_start|>system\nBe kind.<|im_end|>\n"),
            ("user", "<|im_start|>user\nHello you<|im_end|>\n"),
            ("assistant", "<|im_start|>assistant\nHi!<|im_end|>\n"),
        ],
    ),
    (
        CHATML,
        [SYSTEM, ASK],
        [("system", "<|im_start|>system\nBe brief.<|im_end|>\n"), ("user", "<|im_start|>user\nHello you<|im_end|>\n")],
    ),
    (
        HEADERS,
        [SYSTEM, {"role": "user", "content": "  Hello \n"}, ANSWER],
        [
            (TEMPLATE, "<s>"),
            ("system", "<|head|>system<|end|>\n\nBe brief.<|eot|>"),
            ("user", "<|head|>user<|end|>\n\nHello<|eot|>"),
            ("assistant", "<|head|>assistant<|end|>\n\nHi!<|eot|>"),
        ],
    ),
    (
        HEADERS,  # two of one role, a tool, an empty content, the same content again
        [ASK, ASK, {"role": "assistant", "content": ""}, {"role": "tool", "content": "Hello you"}, ANSWER],
        [
            (TEMPLATE, "<s>"),
            ("user", "<|head|>user<|end|>\n\nHello you<|eot|>" * 2),
            ("assistant", "<|head|>assistant<|end|>\n\n<|eot|>"),
            ("tool", "<|head|>tool<|end|>\n\nHello you<|eot|>"),
            ("assistant", "<|head|>assistant<|end|>\n\nHi!<|eot|>"),
        ],
    ),
    (
        TURNS,
        [SYSTEM, ASK, ANSWER, ASK],
        [
            (TEMPLATE, "<s>"),
            ("system", "<turn>user\nBe brief."),
            ("user", "\n\nHello you</turn>\n"),
            ("assistant", "<turn>model\nHi!</turn>\n"),
            ("user", "<turn>user\nHello you</turn>\n"),
        ],
    ),
    (
        INST,
        [ASK, ANSWER, ASK],
        [
            (TEMPLATE, "<s>"),
            ("user", "[INST] Hello you [/INST]"),
            ("assistant", " Hi!</s>"),
            ("user", "[INST] Hello you [/INST]"),
        ],
    ),
]


@pytest.mark.parametrize(("template", "messages", "expected"), CASES)
def test_every_token_has_its_role(template, messages, expected):
    assert parts(template, messages) == expected


def test_a_marker_of_messages_that_is_also_the_first_token_belongs_to_its_message():
    # As in models that register <|im_start|> as the token that opens a text.
    tokenizer = tokenizer_with(CHATML)
    tokenizer.bos_token = "<|im_start|>"
    for messages, expected in [([SYSTEM, ASK], {"system", "user"}), ([ASK, ANSWER], {"system", "user", "assistant"})]:
        rendered = render_conversation(tokenizer, tuple(messages), "chat")
        assert set(rendered.roles) == expected
        assert rendered.roles.count("system") == len("<|im_start|>system\nBe kind.<|im_end|>\n") + (
            messages[0] is SYSTEM
        )


@pytest.mark.parametrize(
    ("template", "added"), [(CHATML, "<|im_start|>assistant\n"), (TURNS, "<turn>model\n"), (INST, "")]
)
def test_a_continued_conversation_ends_with_the_generation_prompt(template, added):
    expected = parts(template, [ASK]) + ([("assistant", added)] if added else [])
    assert parts(template, [ASK], continued=True) == expected


@pytest.mark.parametrize("messages", [[ASK], [ASK, ANSWER], [SYSTEM, ASK]])
@pytest.mark.parametrize("template", [CHATML, HEADERS])
def test_a_template_that_always_opens_an_answer_is_refused(template, messages):
    always = template.replace("{% if add_generation_prompt %}", "").removesuffix("{% endif %}")
    with pytest.raises(TextsError, match=r"adds a generation prompt .* that was not requested\ncorrect the template"):
        parts(always, messages)


@pytest.mark.parametrize(
    ("template", "messages", "said"),
    [
        (None, [ASK], "here: the tokenizer has no chat template: give an instruct model, or leave out --chat"),
        (INST, [SYSTEM, ASK], "here: the chat template fails: no role system\ncheck the roles and their order"),
        (TURNS, [ANSWER], "here: the chat template fails: roles must alternate"),
        ("{{ messages.nothing.here }}", [ASK], "here: the chat template fails: "),
        (
            CHATML.replace("message['content'] +", "message['content'] | upper +"),
            [ASK],
            "so the roles of its tokens are not certain",
        ),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_two_lines(template, messages, said):
    with pytest.raises(TextsError, match=re.escape(said)) as error:
        parts(template, messages)
    assert len(str(error.value).splitlines()) <= 2


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Hello", "here: a string, not a conversation"),
        ({"role": "user"}, "here: an object, not a conversation"),
        ([], "here: a conversation without a message"),
        (["Hello"], "here, message 0: not an object with a role"),
        ([ASK, {"content": "x"}], "here, message 1: not an object with a role"),
        ([{"role": "user", "content": 3}], "here, message 0: its content is not text"),
        ([{"role": "user", "content": [{"type": "image"}]}], "here, message 0: its content is not text"),
    ],
)
def test_forms_that_are_no_conversations(value, said):
    with pytest.raises(TextsError, match=re.escape(said)):
        read_conversation(value, "here")


def test_conversations_are_read_from_objects_and_fields():
    tokenizer = tokenizer_with(CHATML)
    sources = ([[ASK, ANSWER]], [{"id": "x", "messages": [ASK, ANSWER]}], {"x": [ASK, ANSWER]})
    arrays = np.array(
        [ASK, ANSWER | {"content": np.array([{"type": "text", "text": "Hi!"}], dtype=object)}], dtype=object
    )
    sources = (*sources, pandas.DataFrame({"messages": [arrays]}))  # as pandas reads them from parquet
    ids = {next(tokenize(open_texts(source, chat=True), tokenizer, None)).token_ids.tobytes() for source in sources}
    assert len(ids) == 1
    (sequence,) = tokenize(open_texts([[ASK, ANSWER]], chat=True), tokenizer, 12)
    assert (len(sequence.token_ids), len(sequence.roles), sequence.truncated) == (12, 12, True)
    with pytest.raises(UsageError, match="plain texts hold no conversations"):
        list(open_texts(["Hello"], chat=True))
    with pytest.raises(TextsError, match="no field 'messages' \\(fields: 'text'\\)"):
        list(open_texts([{"text": "Hello"}], chat=True))
