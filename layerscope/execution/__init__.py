"""Run a model under a layer schedule: its own forward pass, with its blocks in another order.

`scheduled` is the public context. `interception` records the block calls of a forward pass and hands them to a program;
`run_tree` runs the program of many schedules, which share prefixes. `kv_slots` keeps a key-value cache for each
block call, `batched_blocks` runs the blocks of a parallel stage as one, and `generation` continues a prompt.
"""
