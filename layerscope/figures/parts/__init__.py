"""Parts that figures are made of: axes, legends, markers, matrices, segments and the style."""
