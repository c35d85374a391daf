"""Everything that knows Kaggle: its mounts, its datasets, its gateway, its notebook."""
