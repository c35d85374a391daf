"""What the kit knows of model families, one file each; markers, turns and calls as data and pure functions."""
