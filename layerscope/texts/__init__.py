"""Texts from files, iterables and datasets, their tokens, and the batches in which they run.

`sources` opens texts, `tokens` turns them into a stream of token ids, `batches` groups sequences of similar length under a token
budget. Independent of models: the inputs are a tokenizer and numbers.
"""
