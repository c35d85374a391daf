"""The far side of a sandbox: the forkserver that forks, the init process over one sandbox, and the worker that runs
code.

Top to bottom: forkserver -> init -> worker -> execution; layers confines a worker by means of mounts, landlock,
seccomp, linux and audit. The kit's own process never imports this folder; it needs the standard library only.
"""
