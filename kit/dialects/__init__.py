"""How models ask for Python and are answered, behind one interface of pure operations.

Top to bottom: dialect (the interface and the three that there are) -> chat (turns as messages and as one
transcript) -> calls (what a tool call's arguments hold), fences (blocks of code and output in a text) and boxes
(the answer to a last call).
Standard library only; nothing here runs code or samples: `kit.reasoning` does.
"""
