"""One cell: what it writes, and how it ended. Run here, unconfined, on harmless code."""

from __future__ import annotations

import ast
import builtins
import io
import linecache
import sys
import textwrap
from collections.abc import Iterator

import pytest

from kit.sandbox.inside.execution import MAX_INT_DIGITS, Session


@pytest.fixture(autouse=True)
def interpreter_state() -> Iterator[None]:
    """A session sets these for its own process, which here is the tests'."""
    main, digits = sys.modules["__main__"], sys.get_int_max_str_digits()
    yield
    sys.modules["__main__"] = main
    sys.set_int_max_str_digits(digits)


def run(*cells: str) -> tuple[str, bool]:
    """The output of the last of these cells, and whether it ended well."""
    session = Session()
    for code in cells:
        stream = io.StringIO()
        stdout, sys.stdout = sys.stdout, stream
        try:
            is_ok = session.run(code, stream)
        finally:
            sys.stdout = stdout
    return stream.getvalue(), is_ok


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("1 + 1", "2\n"),
        ("x = 3\nx", "3\n"),
        ("x = 3", ""),
        ("print(5)", "5\n"),
        ("print(1)\nprint(2)", "1\n2\n"),
        ("print(1, end='')\n2", "12\n"),
        ("None", ""),
        ("'text'", "'text'\n"),
        ("for i in range(2):\n    i", ""),
        ("if True:\n    print(7)", "7\n"),
        ("1; 2", "2\n"),
        ("[\n 1,\n 2,\n]", "[1, 2]\n"),
        ("", ""),
        ("# nothing", ""),
        ("    x = 2\n    x * 2", "4\n"),
        ("\n    print(1)\n    2", "1\n2\n"),
        ("def f():\n    return 6\nf()  # six", "6\n"),
        ("x = 1\nx += 1; x", "2\n"),
        ("'''a\nb'''", "'a\\nb'\n"),
        ("(y := 4)", "4\n"),
        ("lambda: 0\nprint", "<built-in function print>\n"),
    ],
)
def test_shows_what_a_notebook_would(code: str, output: str) -> None:
    assert run(code) == (output, True)


def test_variables_functions_and_imports_live_on() -> None:
    assert run("import math\ndef f(x): return math.isqrt(x) + y", "y = 1", "f(16)") == ("5\n", True)


def test_variables_of_a_cell_that_failed_live_on() -> None:
    assert run("x = 1\n1 / 0", "x") == ("1\n", True)


def test_a_function_calls_one_that_a_later_cell_defines() -> None:
    assert run("def f(): return g()", "def g(): return 9", "f()") == ("9\n", True)


def test_classes_can_be_pickled() -> None:
    assert run("class A:\n    x = 5", "import pickle\npickle.loads(pickle.dumps(A())).x") == ("5\n", True)


def test_a_traceback_shows_the_codes_own_lines_and_none_of_ours() -> None:
    output, is_ok = run("def f(x):\n    return 1 / x", "print('before')\nf(0)")
    assert not is_ok
    assert output == (
        "before\n"
        "Traceback (most recent call last):\n"
        '  File "<cell 2>", line 2, in <module>\n'
        "    f(0)\n"
        '  File "<cell 1>", line 2, in f\n'
        "    return 1 / x\n"
        "           ~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )


@pytest.mark.parametrize("code", ["import json\njson.loads('{')", "try:\n    {}[1]\nexcept KeyError:\n    int('x')"])
def test_a_traceback_through_a_library_or_a_cause_shows_no_file(code: str) -> None:
    output, _ = run(code)
    assert "Error" in output
    assert ".py" not in output


def test_code_that_does_not_parse_says_where() -> None:
    output, is_ok = run("x = (1")
    assert not is_ok
    assert output.startswith('  File "<cell 1>", line 1\n    x = (1\n')
    assert output.endswith("SyntaxError: '(' was never closed\n")


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (f"10**{MAX_INT_DIGITS}", "take % or math.log10 first"),
        ("np.zeros(3)", "write `import numpy as np` first"),
        ("math.pi", "write `import math` first"),
        ("def f(): f()\nf()", "use a loop"),
        ("raise MemoryError", "the memory limit"),
        ("raise PermissionError", "closed to this Python"),
    ],
)
def test_a_well_known_trap_comes_with_a_hint(code: str, hint: str) -> None:
    output, is_ok = run(code)
    assert not is_ok
    assert output.splitlines()[-1].startswith("Hint: ")
    assert hint in output.splitlines()[-1]


def test_an_unknown_name_comes_without_a_hint() -> None:
    assert run("nothing_of_this_name")[0].endswith("NameError: name 'nothing_of_this_name' is not defined\n")


def test_an_integer_up_to_the_limit_is_shown() -> None:
    output, is_ok = run(f"10**{MAX_INT_DIGITS - 1}")
    assert is_ok
    assert len(output) == MAX_INT_DIGITS + 1


@pytest.mark.parametrize(("code", "output", "is_ok"), [
    ("import sys\nsys.exit()", "", True),
    ("raise SystemExit(0)", "", True),
    ("raise SystemExit(3)", "SystemExit: 3\n", False),
    ("raise SystemExit('no solution')", "SystemExit: no solution\n", False),
])  # fmt: skip
def test_leaving_ends_the_cell_alone(code: str, output: str, is_ok: bool) -> None:
    assert run(code) == (output, is_ok)


@pytest.mark.parametrize("code", [
    "raise KeyboardInterrupt", "raise BaseException", "x = 1\0",
    "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E",
    "class E(Exception):\n    __class__ = property(lambda self: 1 / 0)\nraise E",
    "raise ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [KeyError(2)])])",
])  # fmt: skip
def test_whatever_the_code_raises_is_reported(code: str) -> None:
    output, is_ok = run(code)
    assert not is_ok
    assert output


def test_an_error_that_cannot_be_formatted_is_named() -> None:
    output, is_ok = run(
        "class E(Exception):\n    __cause__ = 5\n    __suppress_context__ = property(lambda s: 1 / 0)\nraise E"
    )
    assert not is_ok
    assert output == "E (its message cannot be shown)\n"


@pytest.mark.parametrize(
    "code",
    [
        "import builtins\nbuiltins.exec = lambda *args: None",
        "import builtins\nbuiltins.exec = None",
        "import builtins\nbuiltins.eval = None",
        "import builtins\nbuiltins.compile = lambda *args, **kwargs: None",
        "import builtins\ndel builtins.compile, builtins.exec, builtins.isinstance",
        "import builtins\nbuiltins.isinstance = lambda value, kind: True",
        "import builtins\nbuiltins.print = builtins.len = builtins.type = None",
        "import builtins\nfor name in list(vars(builtins)): setattr(builtins, name, None)",
        "import builtins\nvars(builtins).clear()",
        "__builtins__ = None",
        "import sys, types\nclass M(types.ModuleType):\n    def __getattribute__(self, name): raise SystemExit\n"
        "sys.modules['__main__'].__class__ = M",
        "__builtins__ = {}",
        "del __builtins__",
        "globals()['__builtins__'] = {'print': None}",
        "import __main__\n__main__.__builtins__ = 5",
        "globals().clear()",
        "import ast\nast.parse = lambda *args, **kwargs: None",
        "import ast\nast.Expr = ast.Expression = ast.Module = None",
        "import ast\nvars(ast).clear()",
        "import linecache\nlinecache.cache = None",
        "import linecache, textwrap\ntextwrap.dedent = linecache.getline = None",
        "import sys\nsys.set_int_max_str_digits = None",
        "import sys\nsys.set_int_max_str_digits(0)\nsys.modules.clear()",
    ],
)
def test_what_a_cell_replaces_in_python_costs_the_next_cell_nothing(code: str) -> None:
    """Regression: one replaced `exec`, `compile` or `ast.parse` killed the Python for the rest of the attempt."""
    modules, parts = (
        dict(sys.modules),
        [(vars(part), dict(vars(part))) for part in (ast, builtins, linecache, textwrap)],
    )
    digits = sys.set_int_max_str_digits
    try:
        ended = run(code, "n = [1, 2]", "print(len(n))\n    \nsum(n)")
        failed = run(code, "def f(): return 1 / 0", "f()")
        dedented = run(code, "    x = 7\n    x")
    finally:
        sys.modules.update(modules)
        sys.set_int_max_str_digits = digits
        for live, before in parts:  # by methods alone, for there may be no builtins
            live.clear()
            live.update(before)
    assert ended == ("2\n3\n", True)
    assert dedented == ("7\n", True)
    assert "ZeroDivisionError" in failed[0]


def test_what_a_cell_adds_to_builtins_stays() -> None:
    try:
        assert run("import builtins\nbuiltins.answer = 42", "answer") == ("42\n", True)
    finally:
        del vars(builtins)["answer"]


def test_a_value_whose_text_fails_is_an_error_of_the_code() -> None:
    assert run("class A:\n    def __repr__(self): raise TypeError('mine')\nA()")[0].endswith("TypeError: mine\n")
