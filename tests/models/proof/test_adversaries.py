"""Each fact of the proof is needed: a made-up model breaks it, and passes when this one fact is not checked."""

import pytest
import torch

from layerscope.errors import ModelError
from layerscope.models.proof import prove as proof
from tests.models.proof import adversaries
from tests.models.proof.evidence import evidence_of

FIRST_LIST = {"blocks": "layers", "items": (0, 1, 2), "final_norm": "more.0"}
BREAKS = {
    "MixesBefore": ("check_start", "a state 0 of each token alone"),
    "ScalesAfterTheNorm": ("check_end", "a trunk that returns the output of norm bit for bit"),
    "MixesAfter": ("check_local", "an end that is local to a token"),
    "TwoLists": ("check_local", "an end that is local to a token"),
    "ReadsAnEarlierState": ("check_deferred", "the model's own output from blocks that run later (deferred, in order)"),
    "ReadsAnEarlierStateWithACache": ("check_cached", "the model's own output with a cache from blocks that run later"),
    "Whispers": ("check_independent", "blocks that do not depend on each other (block 2 called alone gives another"),
    "Keeps": ("check_kept", "modules that keep nothing of a pass (kept in layers.0.kept, layers.1.kept"),
    "Deeper": ("check_sizes_stated", "the num_hidden_layers of 5 that the configuration states (3 blocks ran)"),
    "Wider": ("check_sizes_stated", "the hidden_size of 32 that the configuration states (the states have 16)"),
}


def evidence(name):
    module = getattr(adversaries, name)().eval()
    return evidence_of(module, **(FIRST_LIST if name == "TwoLists" else {}))


@pytest.mark.parametrize("name", ["Honest", "WithHead"])
def test_honest_models_are_proved(name):
    proof.prove(evidence(name))


@pytest.mark.parametrize("name", BREAKS)
def test_a_model_that_breaks_one_fact_is_refused(name):
    with pytest.raises(ModelError) as error:
        proof.prove(evidence(name))
    assert f"\nMissing: {BREAKS[name][1]}" in str(error.value)


@pytest.mark.parametrize("name", BREAKS)
def test_only_that_fact_catches_it(name, monkeypatch):
    facts = [fact for fact in proof.FACTS if fact.__name__ != BREAKS[name][0]]
    assert len(facts) == len(proof.FACTS) - 1
    monkeypatch.setattr(proof, "FACTS", tuple(facts))
    proof.prove(evidence(name))


def test_of_two_lists_the_second_is_found_and_refused():
    with pytest.raises(ModelError, match="a state 0 of each token alone"):
        proof.prove(evidence_of(adversaries.TwoLists().eval()))


def test_a_block_that_writes_into_the_stream_it_reads_is_refused():
    with pytest.raises(ModelError, match=r"leave the stream they read as it was \(block 0 writes into it\)"):
        proof.prove(evidence("WritesInPlace"))


def test_code_that_fails_when_blocks_run_apart_is_a_refusal():
    class Failing(adversaries.Honest):
        def forward(self, input_ids, **options):
            output = super().forward(input_ids, **options)
            if torch.equal(output.hidden_states[0], output.hidden_states[1]):
                raise ValueError("nothing happened")
            return output

    with pytest.raises(
        ModelError, match=r"blocks that can be run apart \(check_deferred: ValueError: nothing happened\)"
    ):
        proof.prove(evidence_of(Failing().eval()))
