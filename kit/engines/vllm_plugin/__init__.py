"""Our recursion inside vLLM: a backbone with a Tiny Recursive Model as one out-of-tree model.

Everything here but `joined` and `depths` runs in vLLM's processes. Top to bottom: register (the entry point that every
process of vLLM calls) -> model (backbone, then recursion, for vLLM's runner) -> paging (the recursion's keys and values
in vLLM's paged cache) and processor (each request's own depth). `joined` writes the folder that vLLM opens.
The mathematics is kit.trm's; nothing of it is written here a second time.

    form     depth T       why
    anchor   a request's   one cache, read-only after a token's anchors are written: any depth may follow any other
    token    a request's   no cache at all
    states   the engine's  a token reads the states of all tokens before it, application by application, so all of a
                           sequence has one depth, and vLLM shares blocks of equal prompts between requests

What it cannot do: tensor or pipeline parallelism, the entropy gate (it would need the head for every token of a
prompt), and telling the halting score, since vLLM hands back logits only. A prompt's tokens recurse as an answer's do:
vLLM gives a model the tokens of a step in one row, and says afterwards whose logits it wants. Early exit is exact but
saves nothing, since all tokens of a step go through one attention call.
"""
