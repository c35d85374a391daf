"""vLLM: a client of its OpenAI-compatible server, a supervised server of our own, and our recursion in it."""
