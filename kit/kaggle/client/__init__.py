"""The `kaggle` client as a process of its own: its credentials, what it is asked and what it says."""
