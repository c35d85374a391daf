"""Everything that knows Kaggle: its mounts, its datasets, its gateway, its notebook.

rehearsal    the dry run of the submission on this machine
verify       checks of a dataset, of this machine and of the credentials
notebook     what the submission notebook calls; bootstrap: what its first cell runs before that
session      what runs inside the notebook: startup, engine and sandbox, `predict`
local        the kit's double of `kaggle_evaluation`
upload       sending the dataset and the notebook
environment  where things are on Kaggle
dataset      building it, and restoring it where it is mounted
wheelhouse   wheels for a machine without a network
client       the `kaggle` client as a process
checkout, digest, offline: the checkout, a file's hash, and what a child process may

Imports go from each to those below it; import-linter holds that.
"""
