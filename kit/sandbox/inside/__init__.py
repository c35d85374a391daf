"""The far side of a sandbox: the zygote that forks, the warden over one sandbox, and the worker that runs code.

Top to bottom: zygote -> warden -> worker -> execution; layers confines a worker by means of mounts, landlock,
seccomp, linux and audit. The kit's own process never imports this folder; it needs the standard library only.
"""
