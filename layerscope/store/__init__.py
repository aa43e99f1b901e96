"""Where captured states live: the HDF5 capture file, written so that a kill loses nothing, and read back.

The parts, each importing only from those above it::

    schema      names, dtypes and attributes of a capture file: the only place where they stand
    bfloat16    bfloat16 as a real HDF5 type; raw bits in and out
    space       how many bytes a capture will take, and whether the disk has them
    finite      NaN, Inf and values outside the storage type, found cheaply and named
    index       the tokens of every text, spilled to nameless temporary files
    locking     locks of the operating system, and file systems that have none
    layout      the file as it stands before the first row: everything but the rows
    target      one place on disk, locked against a second writer
    header      what a file says of itself, and whether it is a capture at all
    chunks      where on disk the rows lie
    placing     rows put in their places there, past HDF5
    fetching    rows brought from there and widened, past HDF5
    resume      what a resumed capture must agree in
    failures    a file that cannot be written, told in words that say what to do
    writer      the life of a file: rows, commits, resuming, finishing; read its docstring first
    reader      a file as a lazy xarray.Dataset
    source      consecutive rows as torch tensors, from a file or a Dataset

Nothing here knows models, tokenizers or measures.
"""
