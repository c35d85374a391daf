"""An engine over any Hugging Face causal language model, with continuous batching.

Top to bottom: engine (the coroutine) -> worker (its thread) -> decoding (attempts as rows) -> batch (cache,
padding, forward passes) and drawing (logits to tokens). Beside them: chat (prompt to text), transcript (tokens
to text, stop texts, chunks), tool_calls (text to calls); loading checks and opens a model folder.
"""
