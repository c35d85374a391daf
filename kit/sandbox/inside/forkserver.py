"""The process that has everything imported and forks an init process, with its sandbox, whenever it is told to.

In: the settings, then SPAWN packets with descriptors, over the socket whose number is its argument. Out: first
what this machine grants. It has one thread and ends when the kit does; the sandboxes lent by then are their
init processes' concern.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket

from kit.sandbox.config import SandboxConfig
from kit.sandbox.confinement import Confinement
from kit.sandbox.inside.init import keep
from kit.sandbox.inside.layers import probe
from kit.sandbox.packets import FAILED, MAX_REQUEST_BYTES

_NUM_DESCRIPTORS = 3


def main(descriptor: int) -> None:
    """Serve the kit at the other end of this socket until it leaves."""
    with socket.socket(fileno=descriptor) as kit:
        kit.set_inheritable(False)
        config = SandboxConfig.from_json(json.loads(kit.recv(MAX_REQUEST_BYTES)))
        missing = tuple(name for name in config.preload if not _is_loaded(name))
        try:
            layers, absent = probe(config)
        except OSError as error:
            kit.send(FAILED + str(error).encode())
            return
        confinement = Confinement(layers=layers, absent=absent, missing_modules=missing)
        gc.collect()
        gc.freeze()  # pages that the collector never touches stay shared
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # init processes that end leave nothing behind
        kit.send(json.dumps(confinement.to_json()).encode())
        _serve(kit, config, confinement)


def _serve(kit: socket.socket, config: SandboxConfig, confinement: Confinement) -> None:
    while True:
        packet, descriptors, _, _ = socket.recv_fds(kit, MAX_REQUEST_BYTES, _NUM_DESCRIPTORS)
        if not packet:
            return
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        life, control, output = descriptors
        if os.fork() == 0:
            try:
                kit.close()
                channels = socket.socket(fileno=life), socket.socket(fileno=control)
                keep(*channels, output, config=config, layers=confinement.layers)
            finally:
                os._exit(1)  # whatever happens, this child must not go on as a second forkserver
        for descriptor in descriptors:
            os.close(descriptor)


def _is_loaded(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
