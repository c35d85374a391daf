"""An engine over any Hugging Face causal language model, with continuous batching.

Top to bottom: engine (the coroutine and its thread) -> decoding (attempts as rows) -> batch (cache,
padding, forward passes) and drawing (logits to tokens); loading checks and opens a model folder.
"""
