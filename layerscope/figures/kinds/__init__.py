"""One module a figure kind, named after it: the function that draws it."""
