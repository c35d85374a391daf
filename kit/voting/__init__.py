"""From answers to whether they are enough. Standard library only; knows no problem and no engine.

Top to bottom: parsing (a stop rule as text) -> rules and sequential (the rules that there are) -> learned (what the
shape of a vote says), weights (what one vote counts) and early_abort (whether an attempt is hopeless) -> tally (who
leads, and whether that can still change).
"""
