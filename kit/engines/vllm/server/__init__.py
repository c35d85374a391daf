"""A vLLM server of our own, in its own environment and process; see `supervisor`. Imports neither vLLM nor torch."""
