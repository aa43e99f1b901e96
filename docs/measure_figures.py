"""Draw the example of each measure that the page of measures shows, from an analysis that holds them all.

Run by hand after a measure was added or changed, with the analysis of SmolLM2-135M-Instruct on the built-in passages:

    layerscope capture MODEL --texts builtin:passages --output s.h5
    layerscope analyze s.h5 --measures "$(python docs/measure_figures.py)" --output s.nc
    python docs/measure_figures.py s.nc

The pictures are kept under version control: making them takes the model and 43 minutes on one shared core.
"""

import sys
from pathlib import Path

import xarray as xr
from PIL import Image

from layerscope.figures.kinds.heatmap import heatmap
from layerscope.figures.kinds.profile import profile
from layerscope.figures.saving import save
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.record import Kind
from layerscope.results import read_analysis

FOLDER = Path(__file__).parent / "images" / "measures"

_WIDTH = 2.5  # inches
_COLOURS = 256


def draw(analysis: xr.Dataset, name: str) -> None:
    """Write one measure's picture, in a palette: a third of the bytes, and no difference to be seen."""
    pairwise = MEASURES[name].kind is Kind.PAIRWISE
    figure = heatmap(analysis[name], width=_WIDTH) if pairwise else profile(analysis[[name]], width=_WIDTH)
    picture = save(figure, FOLDER / f"{name}.png")
    with Image.open(picture) as drawn:
        drawn.convert("RGB").quantize(_COLOURS, Image.Quantize.MAXCOVERAGE).save(picture, optimize=True)


def main(path: str) -> None:
    """Draw all measures that the analysis holds, and say which it lacks."""
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
