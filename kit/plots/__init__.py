"""Pictures of what a run left behind; the one folder that imports matplotlib. Nothing that answers imports it."""
