"""What a model is: the architecture table, loading, and the causal check that proves a row of the table right."""
