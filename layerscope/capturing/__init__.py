"""From model and texts to states: backends behind one protocol, one driver, sinks.

`layerscope.capturing.protocol` says what a backend is, `backends` lists them, `driver` runs one over texts, `capture` is
the front door that writes a file.
"""
