"""The making of the shipped tiny model: problem families, its tokenizer, its data, its training, how good it is."""
