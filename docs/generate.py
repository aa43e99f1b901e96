"""Write the pages that are generated from the code: measures, models, commands, the gallery and scale.

``make docs`` runs this before it builds the site. The pages are not under version control, so they are always current.
"""

from pathlib import Path

from commands import commands_page, table
from gallery import copy_notebooks, gallery_page
from scale import scale_page

from layerscope.measures.catalogue import DEFAULT_MEASURES, MEASURES
from layerscope.measures.record import Invariance, Kind, Measure
from layerscope.models.supported_families import supported_families

DOCS = Path(__file__).parent

_INVARIANCES = {
    Invariance.ROTATION: "a different rotation of each layer",
    Invariance.COMMON_ROTATION: "the same rotation of all layers",
    Invariance.PERMUTATION: "another order of each layer's features",
    Invariance.SCALE: "a positive factor for each layer",
    Invariance.TOKEN_SCALE: "a positive factor for each token of each layer",
    Invariance.TRANSLATION: "a vector added to all tokens of a layer",
    Invariance.INVERTIBLE_LINEAR: "a different invertible linear map of each layer",
}

_KINDS = {
    Kind.PAIRWISE: ("Between layers", "Each gives a matrix over pairs of layers, of one capture or of two."),
    Kind.PER_LAYER: ("Of one layer", "Each gives one number a layer."),
    Kind.PER_BLOCK: (
        "Of one block",
        "Each gives one number a block; see [Look inside a block](how-to/look-inside-a-block.md).",
    ),
}


def measures_page() -> str:
    """Return the page of measures."""
    parts = [
        "# Measures",
        "Every measure with its definition, range, invariances, cost and reference. To choose one, see "
        "[Pick a measure](how-to/pick-a-measure.md). `layerscope list measures` prints a summary.",
        "X and Y are the states of the same n tokens at two layers, with p features; $x_t$ and $y_t$ are their rows, and "
        "$X_c$ and $Y_c$ are centred over tokens. [Conventions](conventions.md) define the layers. "
        "The page is generated from `layerscope/measures/records`, and the tests check each property against the code.",
        "The pictures show SmolLM2-135M-Instruct on the built-in passages (5,896 tokens, first tokens included); "
        "`docs/measure_figures.py` draws them.",
        "Without `--measures`, an analysis computes " + _listed(DEFAULT_MEASURES) + ".",
        "## Invariances",
        "A measure is invariant to the changes marked *yes* and to no other; the tests check both. "
        "A high value means less if the measure ignores more.",
        table(["invariance", "change of the states"], [[_code(law), words] for law, words in _INVARIANCES.items()]),
        _invariance_table(),
    ]
    for kind, (title, words) in _KINDS.items():
        parts += [f"## {title}", words]
        parts += [_measure(measure) for measure in MEASURES.values() if measure.kind is kind]
    return "\n\n".join(parts) + "\n"


def models_page() -> str:
    """Return the page of model families."""
    entries = supported_families()
    taken = [entry for entry in entries if entry.hooks == "yes"]
    refused = [entry for entry in entries if entry.hooks != "yes"]
    types = {entry.family.partition(":")[0] for entry in entries}
    works = {entry.family.partition(":")[0] for entry in taken if entry.schedules == "yes"}
    header = list(taken[0].columns)
    parts = [
        "# Models",
        "LayerScope takes any Hugging Face transformer whose blocks it can find and prove; no family has an entry in the code. "
        f"Of the {len(types)} language model types of transformers that were tried on a tiny random model, {len(works)} work "
        "with capture and schedules. `layerscope list models` prints the same tables, and `layerscope list models NAME` the "
        "reason for what does not work.",
        "A family is a `model_type` of Hugging Face transformers. The parts of every model are "
        "[found and proved when it is loaded](design/found-and-proved-at-load.md), so a family that is not listed may work too; "
        "[a model that cannot be proved](extending.md#a-model-that-cannot-be-proved) is refused.",
        "## Supported",
        "`generation` is `cached` where generation under a schedule uses the key-value cache and equals recomputation, and "
        "`without a cache` where [the cache cannot be used](design/cache-slots.md) and every token is recomputed. "
        "Where a backend refuses a family, the error names `--backend hooks`.",
        "An encoder-decoder (T5, BART, the decoder of Whisper) has two stacks, and a row for each: `--stack encoder` or "
        "`--stack decoder` takes one. "
        "[The decoder reads a text as a language model](design/found-and-proved-at-load.md#encoder-decoders).",
        table(header, [[_code(entry.family), *list(entry.columns.values())[1:]] for entry in taken]),
        "## Refused",
        table(["family", "reason"], [[_code(entry.family), entry.reason] for entry in refused]),
        "`python -m tests.families.census` measures the tables again; the tests measure a part of them.",
    ]
    return "\n\n".join(parts) + "\n"


def _invariance_table() -> str:
    rows = [
        [f"[`{measure.name}`](#{measure.name})", *("yes" if law in measure.invariances else "–" for law in Invariance)]
        for measure in MEASURES.values()
    ]
    return table(["measure", *(law.value.replace("_", " ") for law in Invariance)], rows)


def _measure(measure: Measure) -> str:
    facts = [
        ["range", measure.range + (f", {measure.units}" if measure.units else "")],
        ["fewest tokens", str(measure.least_tokens)],
        ["a constant layer", "refused" if measure.needs_variation else "accepted"],
        ["no more tokens than features", "refused" if measure.needs_more_tokens_than_features else "accepted"],
        ["passes over the file", measure.passes],
        ["memory", measure.memory],
        ["cost", measure.cost],
        ["bootstrap", measure.bootstrap],
        ["reference", measure.reference],
    ]
    if measure.kind is Kind.PAIRWISE:
        facts[1:1] = [
            ["a layer with itself", f"{measure.self_value:g}"],
            ["symmetric", "yes" if measure.symmetric else "no"],
            ["layers of two widths", "no" if measure.same_width else "yes"],
        ]
    named = [law for law in Invariance if law in measure.invariances]
    changed = [law for law in Invariance if law not in measure.invariances]
    facts.insert(-5, ["invariant to", _listed(named) if named else "nothing"])
    facts.insert(-5, ["not invariant to", _listed(changed) if changed else "nothing"])
    opening = measure.definition[0].upper() + measure.definition[1:]
    title = f"### {measure.name} {{ #{measure.name} }}\n\n*{measure.long_name}*"
    picture = f"![{measure.long_name} of SmolLM2-135M-Instruct](images/measures/{measure.name}.png){{ width=320 }}"
    parts = [title, f"{opening}.", picture, table(["", ""], facts)]
    return "\n\n".join(parts)


def _listed(names: tuple[str, ...] | list[Invariance]) -> str:
    words = [_code(name) for name in names]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _code(name: str) -> str:
    return f"`{name}`"


def main() -> None:
    """Write the generated pages into the folder of this file."""
    pages = {
        "measures": measures_page(),
        "models": models_page(),
        "commands": commands_page(),
        "gallery": gallery_page(),
        "scale": scale_page(),
    }
    for name, page in pages.items():
        (DOCS / f"{name}.md").write_text(page, encoding="utf-8")
    copy_notebooks()


if __name__ == "__main__":
    main()
