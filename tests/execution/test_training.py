"""Training under a schedule: checkpointing, optimizers, PEFT, the Trainer, accelerate."""

import copy
import functools

import accelerate
import peft
import pytest
import torch
import transformers

from layerscope.errors import UsageError
from layerscope.execution.scheduled import scheduled
from layerscope.models.model import Model
from tests.capturing.conformance import make_model
from tests.execution.oracles import run_by_hand
from tests.families import FAMILIES

# The library's newest release calls this activation checkpointing; older ones, PEFT and the Trainer do not.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

SPEC = "0 (1|3)*2"  # block 2 has no part in it
each_family = pytest.mark.parametrize("family", FAMILIES)


def texts(model: Model) -> dict[str, torch.Tensor]:
    ids = torch.randint(2, 97, (3, 8), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}  # and a cache, as is the default


def loss_by_hand(model: Model, stages) -> torch.Tensor:
    inputs = texts(model)
    ids = inputs.pop("labels")
    _, logits = run_by_hand(model, stages, **inputs)
    if model.architecture.causal:
        logits, ids = logits[:, :-1], ids[:, 1:]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())


def gradients(model: Model) -> dict[str, torch.Tensor | None]:
    """Take the gradients away from the weights."""
    found = {name: weight.grad for name, weight in model.module.named_parameters()}
    model.module.zero_grad()
    return found


def assert_same_gradients(got: dict[str, torch.Tensor | None], wanted: dict[str, torch.Tensor | None]) -> None:
    largest = max(float(one.abs().max()) for one in wanted.values() if one is not None)
    for name, one in wanted.items():  # the bias of keys has none but rounding
        assert (one is None) == (got[name] is None), name
        if one is not None:
            torch.testing.assert_close(got[name], one, rtol=1e-4, atol=1e-6 * largest, msg=name)


@functools.cache
def trained_by_hand(family: str) -> dict[str, torch.Tensor]:
    """Return the weights after two steps of plain gradient descent on the schedule run by hand."""
    model = make_model(family)
    optimizer = torch.optim.SGD(model.module.parameters(), lr=0.1)
    for _ in range(2):
        loss_by_hand(model, ((0,), (1, 3), (1, 3))).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.module.state_dict()


@each_family
def test_training_is_training_by_hand(family):
    """The optimizer sees the model's own weights, and moves those of the schedule alone."""
    model = make_model(family)
    before = copy.deepcopy(model.module.state_dict())
    with scheduled(model, SPEC):
        optimizer = torch.optim.SGD(model.module.parameters(), lr=0.1)  # made inside, from what is seen there
        for _ in range(2):
            model.module(**texts(model)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    after, wanted = model.module.state_dict(), trained_by_hand(family)
    for name in before:
        torch.testing.assert_close(after[name], wanted[name], rtol=1e-4, atol=1e-5, msg=name)
    unused = {id(weight) for weight in model.blocks[2].parameters()}
    used = {id(weight) for block in (0, 1, 3) for weight in model.blocks[block].parameters() if weight.ndim > 1}
    for name, weight in model.module.named_parameters():
        if id(weight) in unused:
            assert torch.equal(weight, before[name]), name
        if id(weight) in used:
            assert not torch.equal(weight, before[name]), name


@pytest.mark.parametrize(
    ("family", "use_reentrant"), [(family, False) for family in FAMILIES] + [("gemma2", True), ("bert", True)]
)
def test_gradient_checkpointing(family, use_reentrant):
    model = make_model(family)
    for part in model.module.modules():  # in training, for only then is anything checkpointed
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    for name in ("attention_dropout", "hidden_dropout", "dropout", "attention_probs_dropout_prob"):
        for part in model.module.modules():
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, 0.0)
    model.module.train()
    loss_by_hand(model, ((0,), (1, 3), (1, 3))).backward()
    wanted = gradients(model)
    model.module.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    model.module.enable_input_require_grads()  # which reentrant checkpointing asks for
    runs = []
    model.blocks[1].register_forward_hook(lambda *_: runs.append("called"))
    model.blocks[1].get_submodule(leaf(model)).register_forward_hook(lambda *_: runs.append("computed"))
    with scheduled(model, SPEC):
        model.module(**texts(model)).loss.backward()
        inside = gradients(model)
        assert runs.count("called") == 2
        assert runs.count("computed") == 4  # twice, and again for the gradients
        loss = model.module(**texts(model)).loss
    assert_same_gradients(inside, wanted)
    loss.backward()  # when the schedule is over
    assert_same_gradients(gradients(model), wanted)
    assert len(runs) == 12


def leaf(model: Model) -> str:
    return next(name for name, part in model.blocks[1].named_modules() if getattr(part, "weight", None) is not None)


def test_half_precision_trains():
    model = make_model("llama", torch.bfloat16)
    with scheduled(model, SPEC):
        model.module(**texts(model)).loss.backward()
    found = gradients(model)
    loss_by_hand(model, ((0,), (1, 3), (1, 3))).backward()
    for name, wanted in gradients(model).items():
        assert (wanted is None) == (found[name] is None)
        if wanted is not None:
            assert (found[name] - wanted).norm() < 0.05 * wanted.norm()


# Other people's training


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("family", ["llama", "gpt2", "bert"])
def test_lora_trains(family, inside):
    """Adapters given before or inside the context train, on the blocks of the schedule."""
    model = make_model(family)
    targets = {"llama": ["q_proj"], "gpt2": ["c_attn"], "bert": ["query"]}[family]
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False, fan_in_fan_out=family == "gpt2")
    given = copy.deepcopy(model.module.state_dict())
    if not inside:
        adapted = peft.get_peft_model(model.module, config)
    with scheduled(model, SPEC):
        if inside:
            adapted = peft.get_peft_model(model.module, config)
        trainable = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
        before = {name: weight.detach().clone() for name, weight in trainable.items()}
        assert len(trainable) == 8
        optimizer = torch.optim.SGD(trainable.values(), lr=0.5)
        losses = []
        for _ in range(3):
            loss = adapted(**texts(model)).loss
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
            optimizer.zero_grad()
        scheduled_logits = adapted(**texts(model)).logits
    assert losses[2] < losses[0]
    blocks = {name: int(next(part for part in name.split(".") if part.isdigit())) for name in trainable}
    assert {blocks[name] for name in trainable if not torch.equal(trainable[name], before[name])} == {0, 1, 3}
    inputs = texts(model)
    inputs.pop("labels")
    _, wanted = run_by_hand(model, ((0,), (1, 3), (1, 3)), **inputs)
    assert torch.allclose(scheduled_logits, wanted, atol=1e-4)
    assert not torch.allclose(adapted(**texts(model)).logits, wanted, atol=1e-2)
    restored = adapted.unload().state_dict()
    assert all(torch.equal(restored[name], tensor) for name, tensor in given.items())


@pytest.mark.parametrize("family", ["opt", "llama", "distilbert"])
def test_what_adapters_would_get_wrong_is_refused(family):
    """PEFT goes past the model's own call, and OPT's head past its trunk's."""
    model = make_model(family)
    task = "CAUSAL_LM" if model.architecture.causal else None
    adapted = peft.get_peft_model(model.module, peft.LoraConfig(task, r=2, target_modules="all-linear"))
    with scheduled(model, SPEC):
        for name in ("output_hidden_states", "output_attentions"):
            with pytest.raises(UsageError, match=f"^{name} is not available under a schedule"):
                adapted(**texts(model), **{name: True})


def test_lora_generates_with_a_cache():
    model = make_model("llama")
    adapted = peft.get_peft_model(
        model.module, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    ids = torch.arange(5, 12)[None]
    with scheduled(model, SPEC):
        found = [adapted.generate(input_ids=ids, max_new_tokens=5, do_sample=False, use_cache=c) for c in (True, False)]
    assert torch.equal(*found)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", ["gemma3_text", "distilbert"])
def test_the_trainer_trains(family, checkpointing, tmp_path):
    model = make_model(family)
    before = copy.deepcopy(model.module.state_dict())
    inputs = texts(model)
    rows = [{name: inputs[name][row] for name in ("input_ids", "attention_mask", "labels")} for row in range(3)]
    options = transformers.TrainingArguments(
        tmp_path,
        max_steps=3,
        per_device_train_batch_size=3,
        learning_rate=0.01,
        weight_decay=0.0,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        save_steps=3,
        logging_strategy="no",
        gradient_checkpointing=checkpointing,
        dataloader_pin_memory=False,
    )
    with scheduled(model, SPEC):
        trainer = transformers.Trainer(model.module, options, train_dataset=rows)
        first = trainer.evaluate(rows)["eval_loss"]
        assert first == pytest.approx(loss_by_hand_outside(before, family).item(), rel=1e-4)
        trainer.train()
        assert trainer.evaluate(rows)["eval_loss"] < first
    unused = {id(weight) for weight in model.blocks[2].parameters()}
    for name, weight in model.module.named_parameters():
        assert torch.equal(weight, before[name]) == (id(weight) in unused), name
    saved = type(model.module).from_pretrained(tmp_path / "checkpoint-3").state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in model.module.state_dict().items())


def loss_by_hand_outside(weights: dict[str, torch.Tensor], family: str) -> torch.Tensor:
    model = make_model(family)
    model.module.load_state_dict(weights)
    return loss_by_hand(model, ((0,), (1, 3), (1, 3)))


# Weights that are elsewhere


@pytest.mark.parametrize("way", ["cpu_offload", "disk_offload", "dispatch"])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("family", ["llama", "gpt2", "falcon", "distilbert"])
def test_accelerate_offloads(family, way, inside, tmp_path):
    model = make_model(family)
    inputs = model.inputs(*(texts(model)[name] for name in ("input_ids", "attention_mask")))
    with torch.no_grad(), scheduled(model, SPEC):
        wanted = model.module(**inputs).logits
    offload = functools.partial(place_elsewhere, model, way, tmp_path)
    if not inside:
        offload()
    with torch.no_grad(), scheduled(model, SPEC):
        if inside:
            offload()
        elsewhere = {weight.device.type for weight in model.blocks[1].parameters()}
        assert elsewhere == {"meta"}
        assert torch.equal(model.module(**inputs).logits, wanted)
        assert {weight.device.type for weight in model.blocks[1].parameters()} == {"meta"}


def place_elsewhere(model: Model, way: str, folder) -> None:
    if way == "cpu_offload":
        accelerate.cpu_offload(model.module, execution_device=torch.device("cpu"))
    elif way == "disk_offload":
        accelerate.disk_offload(model.module, folder, execution_device=torch.device("cpu"))
    else:
        path = next(name for name, part in model.module.named_modules() if part is model.blocks[1])
        names = [name for name, part in model.module.named_modules() if name and not list(part.children())]
        places = {name: "cpu" for name in names if not name.startswith(f"{path}.")} | {path: "disk"}
        accelerate.dispatch_model(model.module, places, main_device="cpu", offload_dir=folder)
