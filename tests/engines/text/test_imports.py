"""kit.engines.text is for machines without torch too."""

from __future__ import annotations

import subprocess
import sys

# A module that is None in sys.modules cannot be imported.
_PROBE = """
import importlib, pkgutil, sys
sys.modules["torch"] = sys.modules["transformers"] = None
import kit.engines.text as text
for each in pkgutil.iter_modules(text.__path__, "kit.engines.text."):
    importlib.import_module(each.name)
    print(each.name)
"""


def test_every_module_is_imported_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kit.engines.text.chat" in done.stdout.split()
