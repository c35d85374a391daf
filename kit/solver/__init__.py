"""The one flow under a deadline: Problem -> Prompt -> Sample -> answer -> Tally -> Solution. Nothing heavy.

Top to bottom: solver (one problem after another) -> attempts (those at one problem, in flight) and genselect (a
contested vote, judged by the model) -> pacing (what a second is worth) -> records (what is kept of it) -> config ->
vote_state (samples counted into votes) -> solution (what comes of them) -> stopping (when they are enough) -> journal
(records on disk).
"""
