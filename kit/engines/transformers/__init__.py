"""An engine over any Hugging Face causal language model, with continuous batching.

Top to bottom: engine (the coroutine) -> worker (its thread) -> decoding (attempts as rows) -> batch (cache, padding,
forward passes) and token_sampling (logits to tokens). Beside them, loading checks and opens a model folder; what needs
no torch (chat, transcript, stop texts) is kit.engines.text's.
"""
