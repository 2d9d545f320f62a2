"""Whisper (Radford et al. 2022), for inference: what a sound is, and how its subtitles would begin.

Weights are those of CTranslate2's file, by their names there (``whisper_file``); width, layers and heads follow from
them. One sound at a time. F frames of 10 ms, T = F / 2 states, W width, V tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

NORM_EPS = 1e-5


@dataclass(frozen=True)
class Whisper:
    """Weights float32 by name, and the number of heads of each attention."""

    weights: Mapping[str, Tensor]
    heads: int

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "Whisper":
        """Return the network of a file's arrays; float16 becomes float32, which changes no value."""
        weights = {
            name: torch.from_numpy(array.astype(np.float32))
            for name, array in arrays.items()
            if array.dtype.kind == "f"
        }
        return cls(weights, int(arrays["encoder/num_heads"]))

    @property
    def width(self) -> int:
        """W."""
        return len(self.weights["encoder/layer_norm/gamma"])

    @torch.inference_mode()
    def hear(self, mel: Tensor) -> Tensor:
        """Return float32[T, W], the encoder's states, of log-mel frames float32[F, M]."""
        planes = mel.T[None]
        for name, stride in (("encoder/conv1", 1), ("encoder/conv2", 2)):
            weight, bias = self.weights[f"{name}/weight"], self.weights[f"{name}/bias"]
            planes = functional.gelu(functional.conv1d(planes, weight, bias, stride, 1))
        states = planes.transpose(1, 2)
        states = states + self.weights["encoder/position_encodings/encodings"][: states.shape[1]]
        for layer in range(self._count("encoder")):
            states = self._block(f"encoder/layer_{layer}", states, None)
        return self._norm("encoder/layer_norm", states)[0]

    @torch.inference_mode()
    def continue_text(self, tokens: Sequence[int], states: Tensor) -> Tensor:
        """Return float32[W], the decoder's state behind ``tokens``, of a sound's states float32[T, W]."""
        table = self.weights["decoder/embeddings/weight"]
        text = table[torch.tensor([list(tokens)])]
        text = text + self.weights["decoder/position_encodings/encodings"][: len(tokens)]
        for layer in range(self._count("decoder")):
            text = self._block(f"decoder/layer_{layer}", text, states[None])
        return self._norm("decoder/layer_norm", text)[0, -1]

    @torch.inference_mode()
    def score(self, state: Tensor, tokens: Sequence[int]) -> Tensor:
        """Return float32[V], the logits of these tokens behind a decoder's state float32[W]."""
        return self.weights["decoder/embeddings/weight"][torch.tensor(list(tokens))] @ state

    def _count(self, half: str) -> int:
        """Return the number of layers of the encoder or decoder."""
        return sum(name.startswith(f"{half}/layer_") and name.endswith("/ffn/linear_1/bias") for name in self.weights)

    def _block(self, name: str, states: Tensor, heard: Tensor | None) -> Tensor:
        """Return one layer's output [1, T, W]; a decoder's layer also looks at ``heard``."""
        part = f"{name}/self_attention"
        query, key, value = self._map(f"{part}/linear_0", self._norm(f"{part}/layer_norm", states)).chunk(3, dim=-1)
        states = states + self._map(f"{part}/linear_1", self._attend(query, key, value, causal=heard is not None))
        if heard is not None:
            part = f"{name}/attention"
            query = self._map(f"{part}/linear_0", self._norm(f"{part}/layer_norm", states))
            key, value = self._map(f"{part}/linear_1", heard).chunk(2, dim=-1)
            states = states + self._map(f"{part}/linear_2", self._attend(query, key, value, causal=False))
        inner = self._map(f"{name}/ffn/linear_0", self._norm(f"{name}/ffn/layer_norm", states))
        return states + self._map(f"{name}/ffn/linear_1", functional.gelu(inner))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> Tensor:
        query, key, value = (part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in (query, key, value))
        return functional.scaled_dot_product_attention(query, key, value, is_causal=causal).transpose(1, 2).flatten(2)

    def _map(self, name: str, states: Tensor) -> Tensor:
        return functional.linear(states, self.weights[f"{name}/weight"], self.weights[f"{name}/bias"])

    def _norm(self, name: str, states: Tensor) -> Tensor:
        gain, lift = self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"]
        return functional.layer_norm(states, gain.shape, gain, lift, NORM_EPS)
