"""Slow reference for the recursion: one sequence, float64, a loop for each token, head and step.

Written from Figure 3 of arXiv 2510.04871 and, for the net, from its Figure 1 and section 4; from nothing
in kit/trm but the names of the weights. No cache, no batch, no padding. A sequence of vectors is a list.

    latent recursion   z = net(x + y + z), n times; y = net(y + z)
    deep recursion     T latent recursions, the first T - 1 without gradient
    supervision        N_sup times: deep recursion, loss, backward; then y and z without their history
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Vectors = list[Tensor]
EPS = 1e-5


class Sizes(NamedTuple):
    num_heads: int
    num_kv_heads: int
    head_dim: int
    num_layers: int
    rope_base: float
    form: str
    num_latent: int
    damped: bool = False


class Step(NamedTuple):
    """The state after one latent recursion."""

    y: Vectors
    z: Vectors


def rms_norm(vector: Tensor) -> Tensor:
    mean_square = sum(number * number for number in vector) / len(vector)
    return vector / torch.sqrt(torch.as_tensor(mean_square) + EPS)


def rotated(head: Tensor, position: int, base: float) -> Tensor:
    """RoPE: the pair (i, i + half) turns by position * base^(-i / half)."""
    half = len(head) // 2
    numbers: list[Tensor] = [head[0]] * len(head)
    for i in range(half):
        angle = position * base ** (-i / half)
        numbers[i] = head[i] * math.cos(angle) - head[i + half] * math.sin(angle)
        numbers[i + half] = head[i + half] * math.cos(angle) + head[i] * math.sin(angle)
    return torch.stack(numbers)


def heads_of(vector: Tensor, num_heads: int) -> Vectors:
    size = len(vector) // num_heads
    return [vector[i * size : (i + 1) * size] for i in range(num_heads)]


class Reference:
    """The recursion with given weights: float64 tensors by the names of a TinyRecursiveModel's state dict."""

    def __init__(self, weights: dict[str, Tensor], sizes: Sizes) -> None:
        assert all(tensor.dtype == torch.float64 for tensor in weights.values())
        self.weights, self.sizes = weights, sizes

    def inject(self, layers: list[Vectors]) -> Vectors:
        """x: one layer, or several normalised and mixed, then normalised with a learned gain."""
        gain = self.weights["feature_norm.weight"]
        if "whitening.mean_LD" in self.weights:
            layers = [[self.whiten(index, vector) for vector in layer] for index, layer in enumerate(layers)]
        if len(layers) == 1:
            return [gain * rms_norm(vector) for vector in layers[0]]
        shares = [torch.exp(logit) for logit in self.weights["feature_mix"]]
        total = torch.stack(shares).sum()
        mixed = []
        for token in range(len(layers[0])):
            vector = torch.zeros_like(layers[0][token])
            for share, layer in zip(shares, layers, strict=True):
                vector = vector + share / total * rms_norm(layer[token])
            mixed.append(gain * rms_norm(vector))
        return mixed

    def whiten(self, index: int, vector: Tensor) -> Tensor:
        """One hidden state, entry by entry: its distance from the mean, mapped, and cut where it lies far out."""
        centred = rms_norm(vector) - self.weights["whitening.mean_LD"][index]
        mapping = self.weights["whitening.map_LDD"][index]
        entries = [torch.stack([centred[i] * mapping[i, j] for i in range(len(centred))]).sum()
                   for j in range(len(centred))]  # fmt: skip
        return torch.stack([entry.clamp(-8.0, 8.0) for entry in entries])

    def initial(self, num_tokens: int) -> Step:
        return Step([self.weights["y_init"]] * num_tokens, [self.weights["z_init"]] * num_tokens)

    def net(self, h: Vectors, x: Vectors) -> Vectors:
        for layer in range(self.sizes.num_layers):
            if self.sizes.form != "token":
                source = x if self.sizes.form == "anchor" else h
                gain = self.weights[f"net.blocks.{layer}.attention_norm.weight"]
                h = [gain * rms_norm(h[t] + self.attend(layer, h[t], source[: t + 1])) for t in range(len(h))]
            gain = self.weights[f"net.blocks.{layer}.swiglu_norm.weight"]
            h = [gain * rms_norm(vector + self.swiglu(layer, vector)) for vector in h]
        return h

    def attend(self, layer: int, asking: Tensor, sources: Vectors) -> Tensor:
        """What the last of `sources`' positions hears from all of them."""
        sizes, prefix = self.sizes, f"net.blocks.{layer}.attention"
        position = len(sources) - 1
        queries = heads_of(self.weights[f"{prefix}.query.weight"] @ asking, sizes.num_heads)
        both = [self.weights[f"{prefix}.key_value.weight"] @ source for source in sources]
        keys = [heads_of(pair[: len(pair) // 2], sizes.num_kv_heads) for pair in both]
        values = [heads_of(pair[len(pair) // 2 :], sizes.num_kv_heads) for pair in both]
        outputs = []
        for head, query in enumerate(queries):
            group = head * sizes.num_kv_heads // sizes.num_heads
            turned = rotated(query, position, sizes.rope_base)
            scores = [
                turned @ rotated(keys[s][group], s, sizes.rope_base) / math.sqrt(sizes.head_dim)
                for s in range(len(sources))
            ]
            top = max(score.item() for score in scores)
            weights = [torch.exp(score - top) for score in scores]
            total = torch.stack(weights).sum()
            output = torch.zeros_like(query)
            for s, weight in enumerate(weights):
                output = output + weight / total * values[s][group]
            outputs.append(output)
        return self.weights[f"{prefix}.out.weight"] @ torch.cat(outputs)

    def swiglu(self, layer: int, vector: Tensor) -> Tensor:
        both = self.weights[f"net.blocks.{layer}.swiglu.gate_up.weight"] @ vector
        gate, up = both[: len(both) // 2], both[len(both) // 2 :]
        return self.weights[f"net.blocks.{layer}.swiglu.down.weight"] @ (gate / (1 + torch.exp(-gate)) * up)

    def moved(self, old: Vectors, new: Vectors, which: int) -> Vectors:
        if not self.sizes.damped:
            return new
        rate = 1 / (1 + torch.exp(-self.weights["rate_logits"][which]))
        return [a + rate * (b - a) for a, b in zip(old, new, strict=True)]

    def latent_recursion(self, x: Vectors, state: Step) -> Step:
        y, z = state
        for _ in range(self.sizes.num_latent):
            fused = [x[t] + y[t] + z[t] for t in range(len(x))]
            z = self.moved(z, self.net(fused, x), 1)
        y = self.moved(y, self.net([y[t] + z[t] for t in range(len(x))], x), 0)
        return Step(y, z)

    def steps(self, layers: list[Vectors], depth: int) -> list[Step]:
        """The state before any recursion and after each of `depth` latent recursions."""
        x = self.inject(layers)
        states = [self.initial(len(x))]
        for _ in range(depth):
            states.append(self.latent_recursion(x, states[-1]))
        return states

    def deep_recursion(self, x: Vectors, state: Step, depth: int) -> Step:
        with torch.no_grad():
            for _ in range(depth - 1):
                state = self.latent_recursion(x, state)
        return self.latent_recursion(x, state)

    def halting_logit(self, y: Tensor) -> Tensor:
        return self.weights["halt.weight"][0] @ y + self.weights["halt.bias"][0]

    def loss(self, state: Step, base: Vectors, head: Tensor, labels: list[int]) -> Tensor:
        """Mean over tokens of softmax cross entropy and of BCE(q, the prediction is right)."""
        total = torch.zeros((), dtype=torch.float64)
        for t, label in enumerate(labels):
            logits = head @ (base[t] + self.weights["out.weight"] @ state.y[t])
            total = total - torch.log_softmax(logits, 0)[label]
            probability = 1 / (1 + torch.exp(-self.halting_logit(state.y[t])))
            is_right = int(logits.argmax()) == label
            total = total - torch.log(probability if is_right else 1 - probability)
        return total / len(labels)

    def deep_supervision(
        self,
        layers: list[Vectors],
        base: Vectors,
        head: Tensor,
        labels: list[int],
        *,
        num_supervision: int,
        depth: int,
        after_step: Callable[[], None] = lambda: None,
    ) -> list[float]:
        """The loss of each supervision step, after each of which `after_step` may read the gradients."""
        state = self.initial(len(base))
        losses = []
        for _ in range(num_supervision):
            x = self.inject(layers)
            state = self.deep_recursion(x, state, depth)
            loss = self.loss(state, base, head, labels)
            loss.backward()
            losses.append(loss.item())
            after_step()
            state = Step([y.detach() for y in state.y], [z.detach() for z in state.z])
        return losses
