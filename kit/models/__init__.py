"""What the kit knows of model families, one file each: markers, turns, calls and serving presets.

`recognition` lists the families; a new one is its own file and a line there. Data and pure functions only.
"""
