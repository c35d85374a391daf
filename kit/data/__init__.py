"""Sets of problems with their gold answers, from the hub or from files: for training and for evaluation."""
