"""Programs that mean harm, and what must come of each. Data only: `test_hostile` runs them.

`{canary_file}`, `{canary_pid}`, `{secret}`, `{weights}`, `{port}`, `{mailbox}` and `{kit_pid}` are filled in by the
test.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.interpreter import ExecutionStatus

OK, ERROR, TIMEOUT, DIED = ExecutionStatus
SECRET_TEXT = "kit-secret-7391"
ANY = frozenset(ExecutionStatus)
STOPPED = frozenset({ERROR, TIMEOUT, DIED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """ends: how the program may end. says: what its output must hold. is_core: run under every set of layers.

    starts_processes: run where processes are allowed, too.
    """

    name: str
    code: str
    ends: frozenset[ExecutionStatus]
    says: str = ""
    is_core: bool = False
    starts_processes: bool = False


def hostile(name: str, code: str, *ends: ExecutionStatus, says: str = "", core: bool = False, forks: bool = False):
    return Hostile(
        name=name,
        code=code.strip("\n"),
        ends=frozenset(ends) or ANY,
        says=says,
        is_core=core,
        starts_processes=forks,
    )


LIBC = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
REFUSED = "\nassert result == -1, result\nprint('refused')"
NOT_PERMITTED = "assert ctypes.get_errno() == 1, ctypes.get_errno()"
OWNED_PIPE = "import fcntl, os, time\nr, w = os.pipe()\n"
WRITE = "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\nos.write(w, b'x')\ntime.sleep(0.1)"

PROGRAMS = (
    # processes
    hostile("fork bomb", "import os\nwhile True: os.fork()", ERROR, TIMEOUT, DIED, forks=True),
    hostile("fork once", "import os\nif os.fork() == 0: os._exit(0)", ERROR, says="PermissionError", core=True),
    hostile(
        "fork bomb that leaves its session",
        "import os\nwhile True:\n    try:\n        if os.fork() == 0: os.setsid()\n    except OSError: pass",
        TIMEOUT, DIED, forks=True,
    ),
    hostile(
        "thread bomb",
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        ERROR, says="can't start new thread",
    ),
    hostile(
        "daemon with setsid",
        """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(0.01)
    os._exit(0)
""",
        forks=True,
    ),
    hostile(
        "daemon that ignores signals and dies hard",
        """
import os, signal, time
if os.fork() == 0:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
    os.setsid()
    while True: time.sleep(0.01)
""",
        forks=True,
    ),
    hostile("subprocess that sleeps", "import subprocess\nsubprocess.Popen(['sleep', '600'])", forks=True),
    hostile("child that holds the channels", "import os, time\nif os.fork() == 0: time.sleep(600)\nos._exit(1)",
            ERROR, DIED, forks=True),
    hostile("shell", "import os\nos.system('rm -f {canary_file}; kill -9 {canary_pid}')", forks=True, core=True),
    hostile("multiprocessing", "import multiprocessing\nmultiprocessing.Process(target=print).start()", forks=True),
    hostile("exec", "import os\nos.execv('/bin/sh', ['sh', '-c', 'sleep 600'])", ERROR, TIMEOUT, forks=True),
    # signals
    hostile("kill the parent", "import os\nos.kill(os.getppid(), 9)", core=True),
    hostile("kill the kit", "import os\nos.kill({kit_pid}, 9)", ERROR, core=True),
    hostile("kill a stranger", "import os\nos.kill({canary_pid}, 9)", ERROR, core=True),
    hostile("kill everybody", "import os\nos.kill(-1, 9)"),
    hostile("kill its group", "import os\nos.killpg(0, 9)"),
    hostile("stop itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"),
    hostile(
        "a stranger owns its pipe",
        f"{OWNED_PIPE}fcntl.fcntl(r, fcntl.F_SETSIG, 9)\nfcntl.fcntl(r, fcntl.F_SETOWN, {{canary_pid}})\n{WRITE}",
        core=True,
    ),
    hostile("the kit owns its pipe",
            f"{OWNED_PIPE}fcntl.fcntl(r, fcntl.F_SETSIG, 9)\nfcntl.fcntl(r, fcntl.F_SETOWN, {{kit_pid}})\n{WRITE}",
            core=True),
    hostile("the parent owns its pipe",
            f"{OWNED_PIPE}fcntl.fcntl(r, fcntl.F_SETSIG, 9)\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())\n{WRITE}",
            core=True),
    hostile(
        "a stranger's group owns its pipe, without a signal of its choice",
        f"{OWNED_PIPE}fcntl.fcntl(r, fcntl.F_SETOWN, -os.getpgid({{canary_pid}}))\n{WRITE}", core=True,
    ),
    hostile(
        "a stranger owns its pipe by the newer call",
        f"{OWNED_PIPE}import struct\n"
        f"fcntl.fcntl(r, 15, struct.pack('ii', 1, {{canary_pid}}))\n{WRITE}",
        core=True,
    ),
    hostile(
        "a stranger owns its pipe past Python",
        f"{LIBC}{OWNED_PIPE}libc.fcntl(r, 10, 9)\nlibc.fcntl(r, 8, {{canary_pid}})\n{WRITE}", core=True,
    ),
    *(
        hostile(
            f"a stranger owns its socket by {name}",
            f"import fcntl, os, socket, struct\na, b = socket.socketpair()\n"
            f"fcntl.ioctl(a, {request}, struct.pack('i', {{canary_pid}}))\n"
            f"fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC)\nb.send(b'x')",
            ERROR, core=True,
        )
        for name, request in (("FIOSETOWN", 0x8901), ("SIOCSPGRP", 0x8902))
    ),
    *(
        hostile(name, f"{LIBC}result = libc.syscall({arguments}){REFUSED}", OK, ERROR, core=True)
        for name, arguments in (
            ("tgkill", "234, {canary_pid}, {canary_pid}, 9"),
            ("tkill", "200, {canary_pid}, 9"),
            ("kill past Python", "62, {canary_pid}, 9"),
            ("kill a group past Python", "62, -{canary_pid}, 9"),
            ("rt_sigqueueinfo", "129, {canary_pid}, 9, bytes(128)"),
            ("rt_tgsigqueueinfo", "297, {canary_pid}, {canary_pid}, 9, bytes(128)"),
            ("pidfd_open", "434, {canary_pid}, 0"),
            ("pidfd_send_signal", "424, 0, 9, None, 0"),
            ("process_vm_writev", "311, {canary_pid}, None, 0, None, 0, 1"),
            ("kcmp", "312, {canary_pid}, {canary_pid}, 0, 0, 0"),
            ("another's affinity", "203, {canary_pid}, 8, b'\\1' + bytes(7)"),
            ("another's priority", "141, 0, {canary_pid}, 15"),
            ("another's limits", "302, {canary_pid}, 7, bytes([3] + 7 * [0] + [3] + 7 * [0]), None"),
            ("another's group", "109, {canary_pid}, {canary_pid}"),
            ("another's scheduler", "144, {canary_pid}, 3, bytes(4)"),
            ("another's queue", "71, 0, 0, None"),
            ("another's semaphore", "66, 0, 0, 0"),
        )
    ),
    *(
        hostile(name, f"{LIBC}result = libc.syscall({arguments}){REFUSED}\n{NOT_PERMITTED}", OK, says="refused")
        for name, arguments in (
            ("io_uring", "425, 8, bytes(120)"),
            ("personality", "135, 0xffffffff"),
            ("userfaultfd", "323, 1"),
            ("perf_event_open", "298, bytes(128), 0, -1, -1, 0"),
            ("io_setup", "206, 8, ctypes.create_string_buffer(8)"),
            ("sync", "162, 0"),
            ("inotify_init", "253, 0"),
            ("bpf", "321, 0, bytes(64), 64"),
            ("add_key", "248, b'user', b'x', b'x', 1, -3"),
            ("request_key", "249, b'user', b'x', None, -3"),
            ("keyctl", "250, 0, -3, 0"),
            ("open_by_handle_at", "304, -100, bytes(64), 0"),
        )
    ),
    hostile("timer that signals a stranger", f"{LIBC}import struct\n"
            "event = ctypes.create_string_buffer(struct.pack('qiii', 0, 9, 4, {canary_pid}) + bytes(40))\n"
            f"result = libc.syscall(222, 1, event, ctypes.create_string_buffer(8)){REFUSED}",
            OK, ERROR, core=True),
    hostile("alarm", "import signal, time\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\ntime.sleep(60)", TIMEOUT, DIED),
    hostile(
        "signal handlers that ignore everything",
        """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
""",
        TIMEOUT, says="variables are lost", core=True,
    ),
    hostile(
        "interrupts swallowed",
        "import time\nwhile True:\n    try: time.sleep(9)\n    except BaseException: pass",
        TIMEOUT, says="variables are lost",
    ),
    # memory and time
    hostile("100 GB list", "x = [0] * (100 * 10**9 // 8)", ERROR, says="MemoryError", core=True),
    hostile("100 GB of bytes", "x = bytearray(100 * 10**9)", ERROR, says="MemoryError"),
    hostile("slowly growing list", "x = []\nwhile True: x.append(bytearray(1 << 24))", ERROR, TIMEOUT),
    hostile("a power without end", "10**10**10", *STOPPED),
    hostile("a factorial without end", "import math\nmath.factorial(10**9)", *STOPPED),
    hostile("loop", "while True: pass", TIMEOUT, says="variables are kept", core=True),
    hostile("sleep", "import time\ntime.sleep(600)", TIMEOUT, says="variables are kept"),
    hostile("a lock never released", "import threading\nl = threading.Lock(); l.acquire(); l.acquire()", TIMEOUT),
    hostile("backtracking expression", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", TIMEOUT),
    hostile("sum that no signal reaches", "sum(range(10**13))", TIMEOUT),
    hostile("limits raised", "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", ERROR),
    hostile(
        "limits of another",
        "import resource\nresource.prlimit({kit_pid}, resource.RLIMIT_NOFILE, (1, 1))", ERROR,
    ),
    hostile("memory outside the count", "import os\nos.memfd_create('x')", ERROR, says="PermissionError"),
    hostile(
        "shared memory",
        f"{LIBC}result = libc.shmget(0, 1 << 30, 0o1600){REFUSED}", OK, says="refused",
    ),
    # the interpreter itself
    hostile("recursion", "def f(n): return f(n + 1)\nf(0)", ERROR, says="RecursionError", core=True),
    hostile("recursion unlimited", "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()", *STOPPED),
    hostile("recursion in C",
            "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
            *STOPPED),
    hostile("huge integer to text", "str(7**10**6)", ERROR, says="Hint: integers of more than"),
    hostile("huge integer echoed", "7**10**6", ERROR, says="Hint: integers of more than"),
    hostile("brackets without end", "eval('(' * 10**6)", ERROR),
    hostile("signs without end", "eval('-' * 10**6 + '1')", *STOPPED),
    hostile("null pointer", "import ctypes\nctypes.string_at(0)", DIED, says="SIGSEGV"),
    hostile("abort", "import os\nos.abort()", DIED),
    hostile("exit at once", "import os\nos._exit(7)", DIED, says="exit status 7", core=True),
    hostile("exit politely", "import sys\nsys.exit(0)", OK),
    hostile("builtins emptied", "import builtins\nbuiltins.__dict__.clear()"),
    hostile("exec replaced", "import builtins\nbuiltins.exec = builtins.compile = lambda *args: None", OK, core=True),
    hostile("the worker's own tools replaced",
            "import io, os, signal\nio.TextIOWrapper = os.dup2 = os.getpid = signal.signal = None", OK, core=True),
    hostile("modules emptied", "import sys\nsys.modules.clear()"),
    hostile("repr without end", "class A:\n    def __repr__(self):\n        while True: pass\nA()", TIMEOUT),
    hostile(
        "error whose text has no end",
        "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E", TIMEOUT,
    ),
    hostile("error whose text exits",
            "import os\nclass E(Exception):\n    def __str__(self): os._exit(0)\nraise E", DIED),
    hostile("null bytes", "x = 1\0", ERROR),
    hostile("half a character", "'\ud800'", ERROR),
    # output and channels
    hostile("endless output", "while True: print('x' * 1000)", TIMEOUT, says="bytes left out", core=True),
    hostile("endless raw output", "import os\nwhile True: os.write(2, b'x' * 65536)", TIMEOUT, says="bytes left out"),
    hostile("output that is no text", "import os\nos.write(1, bytes(range(256)) * 100)"),
    hostile("output closed", "import os, sys\nsys.stdout.close()\nos.close(1)\nos.close(2)\nprint(1)"),
    hostile("output replaced", "import io, sys\nsys.stdout = sys.stderr = io.StringIO()"),
    hostile("every descriptor closed", "import os\nos.closerange(0, 65536)", DIED),
    hostile(
        "every descriptor written",
        """
import os
for number in range(64):
    try: os.write(number, b'O' * 600)
    except OSError: pass
""",
        DIED, says="broke its channel",
    ),
    hostile(
        "answers forged in advance",
        """
import socket, sys
frame = sys._getframe()
while frame:
    for thing in list(frame.f_locals.values()):
        if isinstance(thing, socket.socket):
            for _ in range(50): thing.send(b'\\0' * 16 + b'O')
    frame = frame.f_back
""",
        DIED, says="broke its channel",
    ),
    hostile(
        "requests stolen",
        """
import os, threading
def steal():
    for number in range(3, 64):
        try:
            if os.readlink: os.read(number, 1 << 16)
        except OSError: pass
threading.Thread(target=steal, daemon=True).start()
""",
    ),
    hostile("threads that stay", "import threading\ndef spin():\n    while True: print('noise')\n"
            "threading.Thread(target=spin, daemon=True).start()", OK),
    hostile("descriptors exhausted", "import os\nfor _ in range(10**6): os.dup(1)", ERROR),
    # files
    hostile("read a secret of root", "print(open('{secret}').read())", ERROR, core=True),
    hostile("read the weights", "print(open('{weights}').read())", ERROR, core=True),
    hostile("list the weights", "import os\nprint(os.listdir(os.path.dirname('{weights}')))", ERROR, core=True),
    hostile("read the environment", "import os\nprint(dict(os.environ))", OK, core=True),
    hostile("read another's environment", "print(open('/proc/{kit_pid}/environ').read())", ERROR, core=True),
    hostile("read another's memory", "open('/proc/{kit_pid}/mem', 'rb')", ERROR),
    hostile("overwrite a file", "open('{canary_file}', 'w').write('gone')", ERROR, core=True),
    hostile("delete a file", "import os\nos.unlink('{canary_file}')", ERROR),
    hostile("delete everything near", "import pathlib, shutil\n"
            "shutil.rmtree(pathlib.Path('{canary_file}').parent, ignore_errors=True)", OK, ERROR),
    hostile("change rights", "import os\nos.chmod('{weights}', 0)", ERROR),
    hostile("overwrite Python", "import os\nopen(os.__file__, 'a')", ERROR),
    hostile("fill the disk", "with open('/tmp/big', 'wb') as f:\n    while True: f.write(bytes(1 << 20))", ERROR),
    hostile("a file for every number", "for n in range(10**6): open(f'/tmp/{{n}}', 'w').close()", ERROR, TIMEOUT),
    *(
        hostile(
            f"a {name} on a file that others use",
            f"import fcntl, os\nfile = os.open(os.__file__, os.O_RDONLY)\n{call}", ERROR, says="PermissionError",
            core=True,
        )
        for name, call in (
            ("lock", "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"),
            ("shared lock of a range", "fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)"),
            ("lease", "fcntl.fcntl(file, 1024, fcntl.F_RDLCK)"),
        )
    ),
    hostile("devices", "open('/dev/mem', 'rb')", ERROR),
    # past the audit hook
    hostile("a database on disk", "import sqlite3\nsqlite3.connect('{canary_file}.db').execute('create table t(a)')",
            ERROR, core=True),
    hostile(
        "a database attached to one in memory",
        "import sqlite3\nc = sqlite3.connect(':memory:')\nc.execute(\"attach '{canary_file}.db' as x\")\n"
        "c.execute('create table x.t(a)')",
        ERROR, core=True,
    ),
    *(
        hostile(f"a {name} database", f"import {module}\n{module}.open('{{canary_file}}.{name}', 'c')",
                ERROR, core=True)
        for name, module in (("dbm", "dbm"), ("gdbm", "dbm.gnu"), ("ndbm", "dbm.ndbm"))
    ),
    *(
        hostile(f"a {name} beside a file", f"import os, stat\nos.{call}", ERROR, core=True)
        for name, call in (
            ("pipe", "mkfifo('{canary_file}.fifo')"),
            ("node", "mknod('{canary_file}.node', stat.S_IFREG | 0o600)"),
            ("pipe by its folder", "mkfifo('canary.fifo', dir_fd=os.open(os.path.dirname('{canary_file}'), 0))"),
        )
    ),
    hostile("history read",
            "import readline\nreadline.read_history_file('{weights}')\nprint(readline.get_history_item(1))",
            ERROR, core=True),
    hostile("history written", "import readline\nreadline.write_history_file('{canary_file}')", ERROR, core=True),
    hostile("keys logged", "import ssl\nssl.create_default_context().keylog_filename = '{canary_file}.keys'",
            ERROR, core=True),
    hostile(
        "a path that the hook resolves elsewhere",
        "import os\nos.chdir('/usr/lib')\nfolder = os.open('/usr', os.O_RDONLY)\n"
        "print(os.read(os.open('..{weights}', os.O_RDONLY, dir_fd=folder), 99))",
        ERROR, core=True,
    ),
    hostile("the kit's own system call",
            "from kit.linux import syscall\nsyscall(83, b'{canary_file}.folder', 0o777, what='mkdir')",
            ERROR, core=True),
    hostile(
        "a process past subprocess",
        "from multiprocessing.util import spawnv_passfds\n"
        "spawnv_passfds(b'/bin/sh', ['sh', '-c', 'echo gone > {canary_file}'], [])",
        core=True,
    ),
    hostile("another interpreter",
            "import _xxsubinterpreters as x\nx.run_string(x.create(), \"open('{canary_file}', 'w')\")",
            ERROR, core=True),
    hostile(
        "native code under another name",
        "import importlib.machinery as m, importlib.util as u, json, os\n"
        "folder = os.path.dirname(u.find_spec('_csv').origin or '')\n"
        "file = next(f'{{folder}}/{{name}}' for name in os.listdir(folder) if name.startswith('_sqlite3.'))\n"
        "loader = m.ExtensionFileLoader('numpy._sqlite3', file)\n"
        "module = u.module_from_spec(u.spec_from_file_location('numpy._sqlite3', file, loader=loader))\n"
        "module.connect('{canary_file}.db').execute('create table t(a)')",
        ERROR, DIED, core=True,
    ),
    hostile("memory that all share",
            "from multiprocessing import shared_memory\n"
            "shared_memory.SharedMemory('kit-canary', create=True, size=4096)",
            ERROR, core=True),
    # network and kernel
    hostile("connect", "import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=0.2)", ERROR, core=True),
    hostile(
        "datagram",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))", ERROR,
    ),
    hostile("unix socket", "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{canary_file}.sock')", ERROR),
    hostile(
        "datagram to a path",
        "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.sendto(b'x', '{mailbox}')",
        ERROR, core=True,
    ),
    hostile("raw datagram to a path",
            "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)\na.sendto(b'x', '{mailbox}')",
            ERROR),
    hostile("pairs of a family that may reach out", "import socket\nsocket.socketpair(30, socket.SOCK_STREAM)", ERROR),
    hostile("web page", "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}')", ERROR),
    hostile("socket past Python", f"{LIBC}result = libc.socket(2, 1, 0){REFUSED}", OK, says="refused"),
    hostile("trace another", f"{LIBC}result = libc.ptrace(16, {{kit_pid}}, 0, 0){REFUSED}", OK, says="refused"),
    hostile("new namespaces", f"{LIBC}result = libc.unshare(0x10000000){REFUSED}", OK, says="refused"),
    hostile("mount", f"{LIBC}result = libc.mount(b'x', b'/tmp', b'tmpfs', 0, b''){REFUSED}", OK, says="refused"),
    hostile("become root", "import os\nos.setuid(0)", ERROR, OK),  # which it is where no other user can be had
    hostile("raise its priority", "import os\nos.nice(-20)", ERROR),
    hostile("another root", "import os\nos.chroot('/tmp')", ERROR),
)  # fmt: skip
