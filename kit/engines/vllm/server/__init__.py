"""A vLLM server of our own: settings, start, watch, restart; see `supervisor`.

vLLM lives in another environment and another process. Nothing here imports it, or torch.
"""
