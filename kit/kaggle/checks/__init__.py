"""Checks before Kaggle finds out: of a dataset, of the model in it, of this machine, of the credentials."""
