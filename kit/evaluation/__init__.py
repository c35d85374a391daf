"""How good a model is: completions of a set of problems, graded, counted, compared and shown."""
