"""Python for the model: an engine whose attempts may run code, and the forms in which models ask for it.

Top to bottom: reasoner (the loop of turns: sample, run, go on) -> trajectory (one attempt under way) and lease (its
interpreter) -> formats (how a model calls Python and is answered) -> chat (turns as messages and as one transcript) ->
calls (what a tool call's arguments hold) and boxes (the answer to a last call). Nothing here runs code: that is an
`Interpreter` (kit.interpreter), and kit.sandbox is one.
"""
