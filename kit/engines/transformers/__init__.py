"""An engine over any Hugging Face causal language model, with continuous batching.

Top to bottom: engine (the coroutine) -> worker (its thread) -> decoding (attempts as rows) -> batch (padding, forward
passes) and token_sampling (logits to tokens). Under the batch: prefix (what prompts have in common), cache (it grows in
place) and attention (one new token a row). `loading` opens a model folder.
"""
