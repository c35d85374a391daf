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

What a depth costs. All tokens of a step go through one attention call, so each runs to the deepest depth of the step
and is frozen at its own: a request at T = 10 slows those beside it, early exit is exact but saves nothing, and a
latency measured with mixed depths says nothing of a depth. A prompt's tokens recurse as an answer's do. The cache grows
by one layer for each of the net's in the form "anchor", by T (n + 1) for each in "states" (kit.trm.cache): at T = 10
and n = 6 a net of two layers adds 140 to the 28 of a 7B backbone. kit.engines.vllm.server.memory leaves that out.

What it cannot do: tensor or pipeline parallelism, speculative decoding, the entropy gate (it would need the head for
every token of a prompt), telling the halting score (vLLM hands back logits only), and per-request depths under
attention backends that do not tell where a request's tokens begin (FlashInfer). Run with vLLM 0.32.0's CPU build; on
0.19, and on a GPU, not tried. A server started without the processor serves every request at the default depth and
says so in its log.
"""
