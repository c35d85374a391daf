"""Servers that somebody else runs, by OpenAI's API: what they can do is found out first; see `opening`. No torch."""
