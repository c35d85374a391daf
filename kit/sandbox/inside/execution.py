"""Running one piece of code as a notebook cell runs: prints as they come, the value of a last expression, errors.

In: source text and a stream. Out: whether it ended well; all else is written to the stream. Time and memory are
for others to bound. Nothing here trusts the code to leave the interpreter as it was: what runs and compiles was taken
hold of before any code ran, and Python's builtins are put back before and after each cell. What the code breaks all
the same raises, and whoever called replaces the Python.
"""

from __future__ import annotations

import builtins
import linecache
import sys
import traceback
from ast import Expr, Expression, Module, PyCF_ONLY_AST
from collections.abc import Iterator
from sys import set_int_max_str_digits
from textwrap import dedent
from types import CodeType, ModuleType
from typing import TextIO

MAX_INT_DIGITS = 100_000  # str of so many takes about 10 ms; CPython's own limit of 4300 stops honest programs
_MODULES = ("collections", "fractions", "functools", "itertools", "math", "networkx", "numpy", "random", "sympy")
_EXEC, _EVAL, _COMPILE = exec, eval, compile
_LINES = linecache.cache
_BUILTINS, _OWN_BUILTINS = vars(builtins), dict(vars(builtins))
_OF_THE_CODE = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError, KeyboardInterrupt)  # if uncompiled
_SHORT_NAMES = {"np": "numpy", "sp": "sympy", "nx": "networkx"}


class Session:
    """The variables of one attempt, and the cells run so far."""

    def __init__(self) -> None:
        self._main = ModuleType("__main__")
        self._variables = self._main.__dict__  # taken once, as the code may give the module another class
        self._num_cells = 0

    def run(self, code: str, stream: TextIO) -> bool:
        """Run a cell; whether it ended without an error. `sys.exit()` ends a cell as reaching its end does.

        Raises: nothing that the code raised, KeyboardInterrupt included; anything once this Python is broken.
        """
        sys.modules["__main__"] = self._main
        self._variables["__builtins__"] = builtins  # by which the cell finds them
        _put_back()
        self._num_cells += 1
        try:
            body, last = _compile(code, f"<cell {self._num_cells}>")
        except _OF_THE_CODE as error:
            stream.write(_report(error))
            return False
        try:
            self._execute(body, last, stream)
        except SystemExit as leaving:
            _put_back()
            return _left(leaving, stream)
        except BaseException as error:  # noqa: BLE001  # whatever the code raised is its reader's to see
            _put_back()
            stream.write(_report(error))
            return False
        _put_back()
        return True

    def _execute(self, body: CodeType, last: CodeType | None, stream: TextIO) -> None:
        _EXEC(body, self._variables)
        if last is not None:
            value = _EVAL(last, self._variables)
            if value is not None:
                stream.write(f"{value!r}\n")


def _put_back() -> None:
    """Python's own builtins, which the code may have replaced, and its bound on digits. What it added stays."""
    _BUILTINS.update(_OWN_BUILTINS)
    set_int_max_str_digits(MAX_INT_DIGITS)


def _compile(code: str, name: str) -> tuple[CodeType, CodeType | None]:
    """The statements, and the last of them apart if it is an expression. Raises: one of `_OF_THE_CODE`."""
    tree, code = _parse(code, name)
    # Each line with its end, as linecache reads them from a file: the carets of a traceback count on it.
    _LINES[name] = (len(code), None, [f"{line}\n" for line in code.splitlines()], name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], Expr) else None
    body = _COMPILE(tree, name, "exec")
    if not isinstance(last, Expr):
        return body, None
    return body, _COMPILE(Expression(last.value), name, "eval")


def _parse(code: str, name: str) -> tuple[Module, str]:
    try:
        return _tree(code, name), code
    except IndentationError:
        code = dedent(code.lstrip("\n"))
        return _tree(code, name), code


def _tree(code: str, name: str) -> Module:
    """As ast.parse, which the code may have replaced."""
    tree: Module = _COMPILE(code, name, "exec", PyCF_ONLY_AST)  # type: ignore[assignment]  # for this mode always one
    return tree


def _left(leaving: SystemExit, stream: TextIO) -> bool:
    if leaving.code in (None, 0):
        return True
    stream.write(f"SystemExit: {leaving.code}\n")
    return False


def _report(error: BaseException) -> str:
    """The traceback as far as it runs through the code's own lines, and a hint for a well-known trap."""
    try:
        shown = traceback.TracebackException.from_exception(error)
        for part in _parts(shown, set()):
            own = [frame for frame in part.stack if frame.filename.startswith("<cell ")]
            part.stack = traceback.StackSummary.from_list(own) if own else None  # type: ignore[assignment]
        return "".join(shown.format()) + _hint(error)
    except BaseException:  # noqa: BLE001  # an error whose own methods fail, or time that ran out while they ran
        return f"{type(error).__name__} (its message cannot be shown)\n"


def _parts(shown: traceback.TracebackException, seen: set[int]) -> Iterator[traceback.TracebackException]:
    """This error, what caused it, and what it groups."""
    if id(shown) in seen:
        return
    seen.add(id(shown))
    yield shown
    others = (shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ()))
    for other in others:
        if other is not None:
            yield from _parts(other, seen)


def _hint(error: BaseException) -> str:
    """One line that says what to do instead, or nothing."""
    text = ""
    if isinstance(error, ValueError) and "integer string conversion" in str(error):
        text = f"integers of more than {MAX_INT_DIGITS} digits are not shown; take % or math.log10 first"
    elif isinstance(error, NameError) and isinstance(error.name, str):
        module = _SHORT_NAMES.get(error.name, error.name)
        if module in _MODULES:
            text = f"write `import {module}{f' as {error.name}' if module != error.name else ''}` first"
    elif isinstance(error, MemoryError):
        text = "the memory limit was reached; use a generator or a smaller table"
    elif isinstance(error, RecursionError):
        text = "use a loop, or sys.setrecursionlimit with care"
    elif isinstance(error, PermissionError | BlockingIOError):
        text = "new processes, the network and files outside /tmp are closed to this Python"
    return f"Hint: {text}.\n" if text else ""
