"""Capture files: HDF5, written so that a kill loses nothing, and read back.

The modules, each importing only from those above it::

    file_schema     what a file of one kind contains
    schema          names, dtypes and attributes of a capture file
    heaps           damaged heaps, found before HDF5 reads them
    file_check      an open HDF5 file compared with its schema
    locking         locks of the operating system, and file systems without locks
    hdf5            damaged files: opened safely, library errors translated
    bfloat16        bfloat16 as an HDF5 type; raw bits in and out
    space           forecast of the file size; free disk space
    finite          NaN, Inf and overflow, found in one cheap pass
    temporary_files append-only files without names
    index_block     consecutive sequences with their rows
    index           the tokens of every text, in temporary files
    chunks          the addresses of rows on disk
    chunk_io        rows written to and read from these addresses, past HDF5
    checksums       checksums of the header, the index, the placement and the commits
    layout          what a row consists of; the size of the file
    metadata        the types of the metadata of the texts
    index_variables the variables that the index fills
    creation        the file before its first row
    write_lock      an output path locked against a second writer
    target          the output path of a capture: its lock and its temporary file
    header          the header of a file, and the check that it is a capture
    resume          settings and texts that must match on resume
    write_errors    errors on writing, translated
    writer          the life of a file: rows, commits, resuming, finishing; read its docstring first
    source          the protocol of what measures read
    capture_source  rows of a file as torch tensors
    dataset_source  rows of a Dataset as torch tensors
    spans           characters that each row represents
    opening         a file as a lazy Dataset; a file or Dataset as a source

This package does not import models, tokenizers or measures.
"""
