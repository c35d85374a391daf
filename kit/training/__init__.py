"""Training: what makes a model better at problems. `tiny` holds the shipped model's own making."""
