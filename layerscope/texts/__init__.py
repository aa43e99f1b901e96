"""What is fed in: texts from files, iterables and datasets, their tokens, and the batches they run in.

`sources` opens texts, `tokens` turns them into token ids in a stream, `batches` groups sequences of like length under a
token budget. Nothing here knows a model: a tokenizer and numbers are all it is given.
"""
