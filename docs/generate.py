"""Write the pages that are made from the code: measures from their records, models from the tables, the gallery of notebooks.

Run before the site is built (``make docs`` does); the pages are not kept under version control, so they cannot be stale.
"""

from pathlib import Path

from gallery import copy_notebooks, gallery_page

from layerscope.capturing.backends import BACKENDS
from layerscope.measures.catalogue import DEFAULT_MEASURES, MEASURES
from layerscope.measures.record import Invariance, Kind, Measure
from layerscope.models.architectures import ARCHITECTURES

DOCS = Path(__file__).parent

_INVARIANCES = {
    Invariance.ROTATION: "each layer turned by an orthogonal matrix of its own",
    Invariance.COMMON_ROTATION: "all layers turned by the same orthogonal matrix",
    Invariance.PERMUTATION: "each layer's features in another order",
    Invariance.SCALE: "each layer multiplied by a positive number of its own",
    Invariance.TOKEN_SCALE: "each token of each layer multiplied by a positive number of its own",
    Invariance.TRANSLATION: "the same vector added to all tokens of a layer",
    Invariance.INVERTIBLE_LINEAR: "each layer's features mixed by an invertible matrix of its own",
}

_KINDS = {
    Kind.PAIRWISE: ("Between layers", "A matrix over pairs of layers, of one capture or between two."),
    Kind.PER_LAYER: ("Of one layer", "A number for each layer."),
}


def measures_page() -> str:
    """Return the page of all measures."""
    parts = [
        "# Measures",
        "Made from the records in `layerscope/measures/records`, which the law tests check against the code.",
        "X and Y are the states of the same n tokens at two layers, p features each; $x_t$ and $y_t$ are their rows, "
        "$X_c$ and $Y_c$ have their means over tokens taken away. Which tensor a layer is: [Conventions](conventions.md).",
        "The pictures show SmolLM2-135M-Instruct on the built-in passages (5,896 tokens, its first tokens included); "
        "`docs/measure_figures.py` draws them and says how.",
        "Without `--measures` an analysis computes " + _listed(DEFAULT_MEASURES) + ".",
        "## What leaves a measure as it is",
        "A measure says what it is invariant to; under everything else here it changes, and the tests show both. "
        "A high value of a measure that ignores rotations says less about two layers than one of a measure that does not.",
        _table(["change", "of the states"], [[_code(law), words] for law, words in _INVARIANCES.items()]),
        _invariance_table(),
    ]
    for kind, (title, words) in _KINDS.items():
        parts += [f"## {title}", words]
        parts += [_measure(measure) for measure in MEASURES.values() if measure.kind is kind]
    return "\n\n".join(parts) + "\n"


def models_page() -> str:
    """Return the page of all model families."""
    rows = [
        [
            _code(row.family),
            "decoder" if row.causal else "encoder",
            _code(row.blocks),
            _code(row.final_norm) if row.final_norm else "none",
            *("yes" if row.family in backend.families else "no" for backend in BACKENDS.values()),
        ]
        for row in ARCHITECTURES.values()
    ]
    parts = [
        "# Models",
        "Made from the tables in `layerscope/models/architectures.py` and `layerscope/capturing/backends.py`; "
        "`layerscope list models` prints the same.",
        "A family is a `model_type` of Hugging Face transformers; the paths are those of the model without its head. "
        "A row is not believed but [proved at load](design/the-table-proved-at-load.md). A family that is not here is refused: "
        "[add a row](extending.md#add-an-architecture).",
        _table(["family", "kind", "blocks", "final norm", *BACKENDS], rows),
        "Where a backend does not run a family, `--backend hooks` does. TransformerLens may also refuse a single checkpoint of a "
        "family that it declares; it says so and why.",
    ]
    return "\n\n".join(parts) + "\n"


def _invariance_table() -> str:
    rows = [
        [f"[`{measure.name}`](#{measure.name})", *("yes" if law in measure.invariances else "–" for law in Invariance)]
        for measure in MEASURES.values()
    ]
    return _table(["measure", *(law.value.replace("_", " ") for law in Invariance)], rows)


def _measure(measure: Measure) -> str:
    facts = [
        ["range", measure.range + (f", {measure.units}" if measure.units else "")],
        ["fewest tokens", str(measure.least_tokens)],
        ["a layer that is the same for every token", "refused" if measure.needs_variation else "taken"],
        ["tokens no more than features", "refused" if measure.needs_more_tokens_than_features else "taken"],
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
    return f"{title}\n\n{opening}.\n\n{picture}\n\n{_table(['', ''], facts)}"


def _listed(names: tuple[str, ...] | list[Invariance]) -> str:
    words = [_code(name) for name in names]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _code(name: str) -> str:
    return f"`{name}`"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def main() -> None:
    """Write the pages beside this file."""
    for name, page in (("measures.md", measures_page()), ("models.md", models_page()), ("gallery.md", gallery_page())):
        (DOCS / name).write_text(page, encoding="utf-8")
    copy_notebooks()


if __name__ == "__main__":
    main()
