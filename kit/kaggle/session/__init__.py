"""What runs inside the notebook: the steps of the startup, the engine and the sandbox, and `predict`."""
