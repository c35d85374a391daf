"""What is sent to Kaggle: a dataset, through faults and restarts until it is ready, and the submission notebook."""
