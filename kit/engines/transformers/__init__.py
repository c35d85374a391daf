"""An engine over any Hugging Face causal language model, with continuous batching.

Top to bottom: engine (the coroutine) -> worker (its thread) -> decoding (attempts as rows) -> batch (cache, padding,
forward passes) and token_sampling (logits to tokens). `loading` opens a model folder.
"""
