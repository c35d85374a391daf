"""vLLM: a client of its OpenAI-compatible server, a server of our own under supervision, and our recursion in it."""
