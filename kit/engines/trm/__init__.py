"""An engine over a frozen language model with a Tiny Recursive Model; depth is each call's own.

Top to bottom: engine (kit.engines.hf's, with depth and halting score) -> decoding (its decoder, with a
depth for each row). Batching, drawing, the thread and the deadline are kit.engines.hf's.
"""
