"""MathLLM kit: from a laptop to a Kaggle submission that runs offline, on time, and loses no answer."""

__version__ = "0.1.0"
