"""Capture hidden states: run a model over texts and record the states of its layers.

`capture` is the public function, `options` its options, `request` the options resolved for one model, and `driver` the loop
over batches. A `protocol.Backend` reads the states of the running model; `backends` lists the three.
"""
