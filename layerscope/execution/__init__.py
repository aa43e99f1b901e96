"""Run a model under a layer schedule: its own forward pass, with its blocks in another order."""
