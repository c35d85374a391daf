"""What does the recursion's cache cost for each token, against depth?

Counts bytes a token for the three forms and for keeping the last step only, beside the backbone's own
cache, for the two sizes of Qwen2.5-Math (D = 1536 and 3584, two layers in the net, n = 6, bfloat16,
grouped key-value heads as the backbone's). tests/trm/test_cache.py holds the count against real caches.

    python -m benchmarks.trm_cache_bytes
"""

from __future__ import annotations

from kit.trm.cache import cache_bytes_per_token
from kit.trm.config import TRMConfig

DEPTHS = (1, 2, 3, 5, 10, 48)
NUM_BACKBONE_LAYERS = 28
BACKBONES = {
    "1.5B, D=1536": {"hidden_size": 1536, "num_attention_heads": 12, "num_key_value_heads": 2},
    "7B, D=3584": {"hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4},
}
FORMS = {
    "anchor": {"form": "anchor"},
    "states": {"form": "states"},
    'states, cache="last_step"': {"form": "states", "cache": "last_step"},
    "token": {"form": "token"},
}


def main() -> None:
    print("KiB for each token, without the byte that tells its depth in the form `states`")
    print("(48 = N_sup * T of the paper's training)\n")
    print("| backbone | its own cache | form |" + "".join(f" T={depth} |" for depth in DEPTHS))
    print("|---|---:|---|" + "---:|" * len(DEPTHS))
    for name, sizes in BACKBONES.items():
        own = NUM_BACKBONE_LAYERS * 2 * sizes["num_key_value_heads"] * 128 * 2
        for form, settings in FORMS.items():
            config = TRMConfig(**sizes, **settings, head_dim=128)
            cells = [f"{cache_bytes_per_token(config, depth=depth) / 1024:.4g}" for depth in DEPTHS]
            print(f"| {name} | {own / 1024:g} | {form} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
