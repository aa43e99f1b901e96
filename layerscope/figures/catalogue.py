"""Table of all figure kinds.

`layerscope.figures`, ``layerscope plot``, the gallery and the tests read it. A new kind takes a module in
`layerscope.figures.kinds` and an entry here.
"""

from layerscope.figures.figure_kind import FigureKind, Option

__all__ = ["FIGURES"]

_MEASURE = Option("measure", "Measure to draw (cosine, or the first; for match, cka).")
_SEGMENTS = Option("segments", "Segments to draw: a number, auto, or none (3).")
_QUANTITY = Option(
    "quantity", "Quantity of a sweep: normalized, loss, loss_difference, accuracy, perplexity; of a fine-tuning score."
)
_TASK = Option("task", "One task of a sweep (all tasks, or their median).")
_LOOPS = Option("loops", "Loop count of looped_parallel, where a sweep has several (3).", int)

FIGURES: dict[str, FigureKind] = {
    kind.name: kind
    for kind in (
        FigureKind(
            "heatmap",
            "analysis",
            "one matrix over pairs of layers, with its segments",
            (_MEASURE, _SEGMENTS),
            width="single",
            example="--measure cosine",
            from_file="heatmap_of_analysis",
        ),
        FigureKind(
            "panel",
            "analysis",
            "the four cosines on one colour scale",
            (_MEASURE, _SEGMENTS),
            from_file="panel_of_analysis",
        ),
        FigureKind(
            "profile",
            "analysis",
            "statistics of each layer over depth",
            (_MEASURE, _SEGMENTS),
            from_file="profile_of_analysis",
        ),
        FigureKind(
            "contributions",
            "analysis",
            "norm and direction of the additions of attention, MLP and block",
        ),
        FigureKind(
            "streams",
            "analysis",
            "residual stream, attention and MLP on one colour scale",
            (_MEASURE,),
            example="--measure cosine",
            from_file="streams_of_analyses",
            files="resid.nc attn.nc mlp.nc",
        ),
        FigureKind(
            "match",
            "analysis",
            "the best match of each layer in another capture",
            (_MEASURE,),
            width="single",
            example="--measure cka",
        ),
        FigureKind("training", "training", "each layer against itself at the end of training"),
        FigureKind(
            "scaling",
            "scaling",
            "heatmaps of models of several sizes, and the sizes of their segments",
            (_MEASURE, Option("exclude_first", "Tokens left out at each start in a scaling (the fewest).", int)),
            example="--measure cosine",
        ),
        FigureKind(
            "sweep",
            "sweep",
            "the cost of each variant against the number of affected blocks",
            (_QUANTITY, _TASK, _LOOPS),
            example="--quantity loss",
        ),
        FigureKind(
            "tasks",
            "sweep",
            "the cost of each variant, task by task",
            (_QUANTITY, Option("variant", "One variant, for --kind tasks (all)."), _LOOPS),
            example="--quantity loss",
        ),
        FigureKind("single", "sweep", "the effect of each single block", (_QUANTITY, _TASK), example="--quantity loss"),
        FigureKind(
            "loops",
            "sweep",
            "the best loop count of a parallel stage",
            (_QUANTITY, _TASK),
            width="single",
            example="--quantity loss",
        ),
        FigureKind(
            "drift",
            "sweep",
            "loss against drift of the last state",
            (Option("drift", "Drift measure: drift_cosine, drift_norm or drift_cka (drift_cosine)."), _TASK),
        ),
        FigureKind(
            "stages",
            "sweep",
            "variance and drift after each stage of some runs",
            (
                Option("schedule", "Run to draw with --kind stages; repeatable (skip and middle_repeat).", list[str]),
                _TASK,
            ),
        ),
        FigureKind(
            "latency",
            "sweep",
            "score or loss against sequential stages and time",
            (_QUANTITY, _TASK, _LOOPS),
            example="--quantity loss",
        ),
    )
}
"""All figure kinds by name. The default of a result file is the kind of its name, and of an analysis ``heatmap``, or
``contributions`` where it has measures of blocks alone."""
