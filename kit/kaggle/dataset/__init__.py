"""The dataset: what enters, how it is packed and written, and how its files are found and restored where it is mounted.

manifest, mounted, restoring and what they import need only the standard library and the kit: they run on Kaggle before
anything is installed.
"""
