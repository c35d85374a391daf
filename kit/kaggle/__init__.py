"""Everything that knows Kaggle, a folder for each of its sides.

dry_run            the submission on this machine: the real notebook, no network
checks             is a dataset whole, is this machine fit, are the credentials there
notebook           what the submission notebook calls: bootstrap, startup, engine, `predict`
upload             sending the dataset and the notebook, by the `kaggle` client
evaluation_double  the kit's double of `kaggle_evaluation`
environment        where things are on Kaggle
embedding          a notebook that holds the kit itself
dataset            building it, and restoring it where it is mounted
wheels             packages for a machine without a network
facts              every limit, port, path, name and time of Kaggle, with its source
findings           what a check says
facts: every limit, path, name and time of the platform, with its source
checkout, findings, offline, transfer: the checkout, what a check says, what a child process may, and files moved so
that an interrupted run goes on

Imports go from each to those below it; import-linter holds that.
"""
