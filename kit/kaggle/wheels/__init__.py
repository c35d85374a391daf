"""The wheelhouse: wheels for a machine without a network, locked, fetched, proved complete and installed.

target      what it is for: a Python, a C library, a CUDA, and the requirements at its root
lockfile    the set, as PEP 751 has it, and its export for pip
resolve     from a target to its lock, by uv
index       the package index that pip is configured with
fetch       from a lock to a folder of wheels
closure     the proof that the folder alone is enough, by uv or pip
unpack      a wheel of pure Python as a folder of packages, without an installer
install     from the folder to an environment of its own, and whether this machine is the one it is for
committed   the targets and locks of a checkout, by name

`install` and what it imports need only the standard library, `packaging` and the kit: they run on Kaggle. `unpack`
needs not even `packaging`.
"""
