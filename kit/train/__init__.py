"""Training: problem families, the shipped tiny model, and what makes a model better at them."""
