"""Functions that draw the figure kinds, one module a kind.

`layerscope.figures.catalogue` lists them. No kind imports another: they share `layerscope.figures.parts`.
"""
