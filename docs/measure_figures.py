"""Draw the picture of each measure for the page of measures, from an analysis with all or some of them.

Run it by hand after adding or changing a measure, on SmolLM2-135M-Instruct and the built-in passages:

    layerscope capture MODEL --texts builtin:passages --streams resid,attn,mlp --output s.h5
    layerscope analyze s.h5 --measures "$(python docs/measure_figures.py)" --output s.nc
    python docs/measure_figures.py s.nc

The pictures are under version control, because they need the model and 43 minutes on one shared core.
"""

import sys
from pathlib import Path

import xarray as xr
from PIL import Image

from layerscope.figures.kinds.contributions import contributions
from layerscope.figures.kinds.heatmap import heatmap
from layerscope.figures.kinds.profile import profile
from layerscope.figures.saving import save
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.record import Kind
from layerscope.results import read_analysis

FOLDER = Path(__file__).parent / "images" / "measures"

_WIDTH = 2.5  # inches
_COLOURS = 256


_DRAW = {
    Kind.PAIRWISE: lambda analysis, name: heatmap(analysis[name], width=_WIDTH),
    Kind.PER_LAYER: lambda analysis, name: profile(analysis[[name]], width=_WIDTH),
    Kind.PER_BLOCK: lambda analysis, name: contributions(analysis[[name]], width=_WIDTH),
}


def draw(analysis: xr.Dataset, name: str) -> None:
    """Write the picture of one measure with a palette, a third of the bytes without a visible difference."""
    picture = save(_DRAW[MEASURES[name].kind](analysis, name), FOLDER / f"{name}.png")
    with Image.open(picture) as drawn:
        drawn.convert("RGB").quantize(_COLOURS, Image.Quantize.MAXCOVERAGE).save(picture, optimize=True)


def main(path: str) -> None:
    """Draw every measure in the analysis, and print those that it lacks."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    analysis = read_analysis(path)
    for name in MEASURES:
        if name in analysis:
            draw(analysis, name)
        else:
            print(f"{path} has no {name}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        print(",".join(MEASURES))
