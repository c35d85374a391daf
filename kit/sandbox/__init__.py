"""Running a model's Python safely: one confined, persistent process for each attempt, from a warm pool.

Top to bottom: pool (lends them; the one name that others need is `open_pool`) -> forkserver (starts them) ->
process (one of them, seen from here) -> transcript (what it wrote, bounded); memory is what they hold together.
`inside` is what runs on the far side, never imported here. config is what may be set, confinement what the machine
granted. The seam is kit.interpreter. Linux only.
"""
