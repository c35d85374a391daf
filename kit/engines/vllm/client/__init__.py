"""A client of OpenAI-compatible servers: vLLM, SGLang, llama.cpp; see `engine`."""
