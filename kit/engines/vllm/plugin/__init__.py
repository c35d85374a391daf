"""Our recursion inside vLLM: a backbone with a Tiny Recursive Model as one out-of-tree model.

Everything but `joined`, `serving` and `depths` runs in vLLM's processes. Top to bottom: register (the entry point of
every process) -> model (backbone, then recursion) -> paging (the recursion's keys and values in vLLM's paged cache) and
processor (each request's depth). `joined` writes the folder that vLLM opens. The mathematics is kit.trm's.

    form     depth T       why
    anchor   a request's   one cache, read-only after a token's anchors are written: any depth may follow any other
    token    a request's   no cache at all
    states   the engine's  a token reads the states of all tokens before it, application by application, so all of a
                           sequence has one depth, and vLLM shares blocks of equal prompts between requests

Cost: the net's products are computed for the tokens that still recurse, so they follow the sum of the depths, and early
exit saves them. Only attention is one call for all tokens of a step, however few ask. Of a prompt the last token alone
recurses ("states": all, since later ones read them). The cache grows by
one layer for each layer of the net in the form "anchor", by T (n + 1) in "states" (kit.trm.cache): at T = 10 and n = 6
a net of two layers adds 140 to the 28 of a 7B backbone.

Not supported: log-probabilities of a prompt's tokens, which have no recursion, tensor or pipeline parallelism,
speculative decoding, the entropy gate (it needs the head for every token of a prompt), the halting score (vLLM returns
logits only), and depths by request under FlashInfer, which does not tell where a request's tokens begin. Run with vLLM
0.32.0's CPU build; not tried on 0.19 or on a GPU. Without the processor a server serves every request at the default
depth and logs that.
"""
