"""math-verify's reading of texts: lines of JSON in, a line `{"answer": int | null, "ms": float}` out for each.

Run by `extraction_agreement.py --math-verify PYTHON` under a Python that has math-verify; it imports nothing else.
In: `{"text": …}`. The answer is the first of what `math_verify.parse` returns with its default settings that is an
integer; null where the first is none.
"""

import importlib
import json
import sys
import time
from typing import Any


def main() -> None:
    math_verify = importlib.import_module("math_verify")
    sympy = importlib.import_module("sympy")
    math_verify.parse(r"\boxed{7}")  # what is loaded once is not counted
    for line in sys.stdin:
        text = json.loads(line)["text"]
        start = time.process_time()
        try:
            found = math_verify.parse(text)
        except Exception:  # noqa: BLE001  another project's errors: nothing was read
            found = []
        ms = 1000 * (time.process_time() - start)
        first: Any = found[0] if found else None
        is_integer = isinstance(first, sympy.Expr) and bool(first.is_number and first.is_integer)
        print(json.dumps({"answer": int(first) if is_integer else None, "ms": ms}), flush=True)


if __name__ == "__main__":
    main()
