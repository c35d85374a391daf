"""The dry run: the real notebook executed as on Kaggle, without a network, and a report of what it left."""
