"""An engine over a frozen language model with a Tiny Recursive Model; depth is each call's own.

Top to bottom: engine (that of kit.engines.transformers, with depth and halting score) -> decoding (its decoder, with a
depth for each row). Batching, token sampling, the thread and the deadline are those of kit.engines.transformers.
"""
