"""What a competitor may set, as one file or one by one, and what is opened from it: engine, sandboxes, one problem.

It needs no platform: a notebook on Kaggle, a dry run and `kit solve` are all built on it.
"""
