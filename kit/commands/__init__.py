"""The commands of `kit`, one module each: `add` declares it, and its function parses, calls and prints."""
