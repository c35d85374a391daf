"""An engine over a frozen language model with a Tiny Recursive Model; each call has its own depth.

engine adds depth and halting score to that of kit.engines.transformers, decoding a depth for each row to its decoder.
"""
