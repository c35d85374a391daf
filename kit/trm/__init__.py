"""A Tiny Recursive Model over a frozen causal language model, with an exact cache and depth as a dial.

Top to bottom: checkpoint (save, load, check) -> language_model (generate) -> model (backbone and recursion
joined) -> whitening (of the hidden states), attention (what the recursion attends to) and recursion (the paper's loop)
-> layers and cache; config is what a checkpoint remembers. Source: arXiv 2510.04871.
"""
