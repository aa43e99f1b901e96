"""The variables of a sweep file: names of the drifts, and what each variable holds."""

__all__ = ["DRIFTS", "LONG_NAMES", "long_name"]

DRIFTS = ("drift_cosine", "drift_norm", "drift_cka")
"""Drifts at the last state, in the order of the dimension ``drift``."""

LONG_NAMES = {
    "loss": "nats a token of the right choice, mean over examples",
    "perplexity": "exp of the mean over examples of the nats of the right choice, its tokens summed; of choices and whole texts: "
    "exp of all nats over all tokens",
    "byte_perplexity": "exp of all nats over all bytes, of choices and whole texts",
    "bits_per_byte": "all bits over all bytes, of choices and whole texts",
    "accuracy": "share of examples answered rightly",
    "accuracy_norm": "share of examples answered rightly, likelihoods taken a byte",
    "normalized": "accuracy with guessing at 0 and the full model at 1",
    "loss_difference": "loss beyond that of the full model, on the same examples",
    "drift_cosine": "1 - cos of the last state and the full model's, mean over tokens, position 0 left out",
    "drift_norm": "|h' - h| / |h| of the last state h' and the full model's h, mean over tokens, position 0 left out",
    "drift_cka": "1 - debiased CKA of the last states and the full model's, batch by batch",
    "drift_cosine_stage": "drift_cosine after each stage, against the full model's state reference_state",
    "drift_norm_stage": "drift_norm after each stage, against the full model's state reference_state",
    "variance_stage": "variance over tokens after each stage, mean over features, position 0 left out",
    "reference_state": "the state of the full model that each stage is held against; -1 beyond the last stage",
    "block_calls": "block calls an example newly made for this run in the prefix tree",
    "block_calls_alone": "block calls an example that this run takes by itself",
    "seconds": "seconds this run took beyond the runs before it, over all tasks",
    "example_loss": "nats a token of the right choice",
    "target_tokens": "tokens of the right choice",
    "target_bytes": "bytes of UTF-8 of the right choice",
    "kind": "continuation, choice, rolling (whole texts) or written (answers that the model writes)",
    "rank_correlation": "Spearman's rank correlation over runs of a drift with the loss",
    "chance": "accuracy of guessing",
    "examples": "how many examples a task has",
}


def long_name(variable: str) -> str | None:
    """Return what a variable of a sweep file holds; None for a variable without a description.

    Examples
    --------
    >>> long_name("accuracy_low")
    'share of examples answered rightly, lower end of the 95 % interval'
    """
    for suffix, end in (("_low", "lower"), ("_high", "upper")):
        base = variable.removesuffix(suffix)
        if base != variable and base in LONG_NAMES:
            return f"{LONG_NAMES[base]}, {end} end of the 95 % interval"
    return LONG_NAMES.get(variable)
