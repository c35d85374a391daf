"""From a completion to the integer that it answers, or why there is none. Standard library, and sympy for roots.

Top to bottom: extraction (the piece of a text that states the answer; over fences: blocks of code and output are no
statements) -> normalisation (that piece as an integer 0-99999; over notation: its syntax tree, and exact: its value)
and modulus (what the problem asks its answer to be reduced by).
"""
