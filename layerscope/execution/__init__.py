"""A schedule meets a model: the model's own forward pass, with its blocks run in another order."""
