"""From a completion to the integer that it answers, or why there is none. Standard library, and sympy for logarithms.

Top to bottom: extraction (the piece of a text that states the answer) over channels (what a model says rather than
thinks), fences (blocks of code and output) and statements ("the answer is ..."); normalisation (that piece as an
integer 0-99999) over cleaning (what surrounds a number), names (sides of an equation that have no value), units (the
words behind a number), parser (its syntax tree) over tokens, exact (its value) over arithmetic, decimals and algebraic
(whether roots make an integer); modulus (what the problem asks its answer to be reduced by).
"""
