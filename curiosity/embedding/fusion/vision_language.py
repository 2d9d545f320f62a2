"""Attention between a picture's tokens and a sentence's, in both directions.

B items, H heads, V tokens of the picture, L of the sentence, E their dimension.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from curiosity.embedding.fusion.attention import CrossModalAttention, Kind
from curiosity.protocol.errors import ConfigError


@dataclass(frozen=True)
class Attended:
    """A picture and a sentence that have seen each other.

    Attributes:
        visual: float[B, V, E], what the picture's tokens took from the sentence, beside themselves.
        text: float[B, L, E], what the sentence's tokens took from the picture, beside themselves.
        v2l_weights: float[B, H, V, L]: how much each part of the picture looks at each word.
        l2v_weights: float[B, H, L, V]: how much each word looks at each part of the picture.
    """

    visual: Tensor
    text: Tensor
    v2l_weights: Tensor
    l2v_weights: Tensor


class VisionLanguageAttention(nn.Module):
    """Self-attention within each modality, then cross-attention in both directions; each adds to what was there."""

    def __init__(self, dim: int, heads: int = 8, *, kind: Kind = "dot", dropout: float = 0.0) -> None:
        super().__init__()

        def make() -> CrossModalAttention:
            return CrossModalAttention(dim, heads, kind=kind, dropout=dropout)

        self.visual_self, self.text_self, self.v2l, self.l2v = make(), make(), make(), make()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))

    def forward(
        self,
        visual: Tensor,
        text: Tensor,
        visual_mask: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> Attended:
        """Return both sequences after attention, with both directions' weights.

        ``visual`` float[B, V, E] and ``text`` float[B, L, E]; masks bool[B, V] and bool[B, L], True where a token is.

        Raises:
            ConfigError: FUSION_INPUT, when a shape or a dtype is another.
        """
        visual, text = _hide(visual, visual_mask), _hide(text, text_mask)
        visual = self.norms[0](visual + self.visual_self(visual, visual, visual_mask)[0])
        text = self.norms[1](text + self.text_self(text, text, text_mask)[0])
        from_text, v2l = self.v2l(visual, text, text_mask)
        from_picture, l2v = self.l2v(text, visual, visual_mask)
        return Attended(self.norms[2](visual + from_text), self.norms[3](text + from_picture), v2l, l2v)


@dataclass(frozen=True)
class VisionLanguage:
    """Outputs of :class:`VisionLanguageEncoder`.

    Attributes:
        visual: float[B, E], the mean of the picture's tokens before they saw the sentence.
        text: float[B, E], that of the sentence.
        attended_visual: float[B, E], the mean of the picture's tokens after.
        attended_text: float[B, E], that of the sentence.
        attention: Both sequences and both directions' weights.
    """

    visual: Tensor
    text: Tensor
    attended_visual: Tensor
    attended_text: Tensor
    attention: Attended


class VisionLanguageEncoder(nn.Module):
    """Maps two towers' token sequences to one dimension and lets them attend to each other."""

    def __init__(self, visual_dim: int = 768, text_dim: int = 768, dim: int = 512, *, heads: int = 8) -> None:
        super().__init__()
        self.visual_map, self.text_map = nn.Linear(visual_dim, dim), nn.Linear(text_dim, dim)
        self.attention = VisionLanguageAttention(dim, heads)

    def forward(
        self,
        visual: Tensor,
        text: Tensor,
        visual_mask: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> VisionLanguage:
        """Encode ``visual`` float[B, V, visual_dim] with ``text`` float[B, L, text_dim].

        Pooled vectors [B, visual_dim] are taken for sequences of one token; items of a batch never see each other.

        Raises:
            ConfigError: FUSION_INPUT, when a shape or a dtype is another.
        """
        visual, text = (one[:, None] if one.ndim == 2 else one for one in (visual, text))
        for name, given, width in (
            ("visual", visual, self.visual_map.in_features),
            ("text", text, self.text_map.in_features),
        ):
            if given.ndim != 3 or given.shape[2] != width:
                raise ConfigError(
                    "FUSION_INPUT",
                    f"the {name} input has the shape {tuple(given.shape)}; expected [B, T, {width}] or [B, {width}]",
                    "Give the tower's features, not a picture's pixels or a sentence.",
                )
        seen, read = self.visual_map(_hide(visual, visual_mask)), self.text_map(_hide(text, text_mask))
        after = self.attention(seen, read, visual_mask, text_mask)
        return VisionLanguage(
            _mean(seen, visual_mask),
            _mean(read, text_mask),
            _mean(after.visual, visual_mask),
            _mean(after.text, text_mask),
            after,
        )


def _hide(tokens: Tensor, mask: Tensor | None) -> Tensor:
    return tokens if mask is None else tokens.masked_fill(~mask[..., None], 0.0)


def _mean(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean [B, E] of the tokens that are there; 0 where none is."""
    if mask is None:
        return tokens.mean(dim=1)
    counts = mask.sum(dim=1, keepdim=True).clamp(min=1)
    return tokens.masked_fill(~mask[..., None], 0.0).sum(dim=1) / counts
