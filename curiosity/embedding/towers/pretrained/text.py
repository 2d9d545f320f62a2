"""Text towers on ModernBERT, BERT, SigLIP and CLIP.

U tokens of an item without those that frame it, L tokens that a batch is padded to.
"""

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from curiosity.embedding.modalities.text import to_string
from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features
from curiosity.embedding.towers.pretrained.base import PretrainedTower
from curiosity.embedding.towers.pretrained.files import TOKENIZER
from curiosity.embedding.towers.text import minilm_folder
from curiosity.protocol.errors import CheckpointError

ABSENT = -1  # what pads a batch; no token has this number


class _Tokens(PretrainedTower):
    """Tokens in, one row out. The natural unit is the token.

    Published weights bring their ``tokenizer.json``. Seeded ones use the word pieces that the package of the preset
    ``tiny`` carries: any tokenizer serves an encoder that has yet to learn what its tokens mean.
    """

    CONFIG_PART = "text_config"
    MAX_TOKENS: ClassVar[int] = 512
    max_rows = 128

    def read_settings(self, folder: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the longest text in tokens, and those that frame it.

        Raises:
            CheckpointError: PRETRAINED_MISSING or PRETRAINED_BROKEN, when there is no tokenizer or it cannot be read;
                PRETRAINED_DIFFERS, when it has more tokens than the encoder.
        """
        own = folder if folder is not None else minilm_folder()
        if own is None or not (own / TOKENIZER).is_file():
            raise CheckpointError(
                "PRETRAINED_MISSING",
                f"{own or 'no package'} has no {TOKENIZER}",
                "Save the tokenizer beside the weights.",
            )
        try:
            self.tokenizer = Tokenizer.from_file(str(own / TOKENIZER))
        except Exception as error:  # the library raises nothing narrower
            raise CheckpointError(
                "PRETRAINED_BROKEN", f"{own / TOKENIZER}: {str(error)[:200]}", "Fetch the weights again."
            ) from error
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        known, taken = self.tokenizer.get_vocab_size(), int(self.config.vocab_size)
        if known > taken:
            raise CheckpointError(
                "PRETRAINED_DIFFERS",
                f"the tokenizer in {own} has {known} tokens, the encoder {taken}",
                "Give the tokenizer that belongs to the weights.",
            )
        framed = self.tokenizer.encode("a")
        inner = [place for place, is_frame in enumerate(framed.special_tokens_mask) if not is_frame]
        longest = min(self.MAX_TOKENS, int(self.config.max_position_embeddings))
        return {
            "first": framed.ids[: inner[0]],
            "last": framed.ids[inner[-1] + 1 :],
            "pad": self._pad(folder is not None),
            "mask": self._find("[MASK]", "<mask>"),
            "tokens": int(settings.get("tokens", longest)),
        }

    def _find(self, *names: str) -> int:
        found = [number for number in map(self.tokenizer.token_to_id, names) if number is not None]
        return int(found[0]) if found else ABSENT

    def _pad(self, is_published: bool) -> int:
        # SigLIP sees what pads a text, and was not trained with the token that its tokenizer calls <pad>.
        declared = getattr(self.config, "pad_token_id", None)
        if is_published and declared is not None:
            return int(declared)
        return max(0, self._find("[PAD]", "<pad>"))

    def unstored_bytes(self) -> bytes:
        """Return the tokenizer."""
        return str(self.tokenizer.to_str()).encode()

    def read_text(self, text: str) -> str:
        """Return what the tokenizer gets."""
        return text

    def prepare(self, array: Array) -> Features:
        """Return int64[U], without the framing tokens."""
        room = self.settings["tokens"] - len(self.settings["first"]) - len(self.settings["last"])
        ids = self.tokenizer.encode(self.read_text(to_string(array)), add_special_tokens=False).ids[:room]
        return np.array(ids, dtype=np.int64)

    def units(self, features: Features) -> int:
        """Count one unit for each token."""
        return len(features)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the text without the hidden tokens."""
        return features[~hidden]

    def empty(self) -> Features:
        """Return an item without any token."""
        return np.zeros(0, dtype=np.int64)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return int64[B, L], framed, -1 after the end."""
        out = np.full((len(batch), self.settings["tokens"]), ABSENT, dtype=np.int64)
        first, last = self.settings["first"], self.settings["last"]
        for row, features in zip(out, batch, strict=True):
            framed = [*first, *features.tolist(), *last]
            row[: len(framed)] = framed
        return torch.from_numpy(out)

    def _trim(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens and bool presence, cut to the longest text of the batch."""
        present = inputs != ABSENT
        longest = int(present.sum(dim=1).max())
        return inputs[:, :longest].masked_fill(~present[:, :longest], self.settings["pad"]), present[:, :longest]


class _MaskedTokens(_Tokens):
    """Encoders that learned with a mask token: a hidden token becomes it and keeps its place."""

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the text with the mask token in place of the hidden ones."""
        if self.settings["mask"] == ABSENT:
            return features[~hidden]
        return np.where(hidden, np.int64(self.settings["mask"]), features.astype(np.int64, copy=False))

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W], the mean over tokens."""
        tokens, present = self._trim(inputs)
        out: Tensor = self.encoder(input_ids=tokens, attention_mask=present.long()).last_hidden_state.float()
        return (out * present[:, :, None]).sum(dim=1) / present.sum(dim=1, keepdim=True)


class ModernBertText(_MaskedTokens):
    """ModernBERT, mean over tokens."""

    MODEL, TYPES = "ModernBertModel", frozenset({"modernbert"})


class BertText(_MaskedTokens):
    """BERT and what is built like it (MiniLM sentence encoders), mean over tokens."""

    MODEL, TYPES = "BertModel", frozenset({"bert"})
    OPTIONS = {"add_pooling_layer": False}  # noqa: RUF012 - a ClassVar in the base
    MAX_TOKENS = 256


class ClipText(_Tokens):
    """CLIP's text half with its own projection, read at the last token."""

    MODEL, TYPES = "CLIPTextModelWithProjection", frozenset({"clip", "clip_text_model"})

    def width(self) -> int:
        """Return W, the width of CLIP's own space."""
        return int(self.config.projection_dim)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W]. Its attention looks back only, so that what pads a batch is never seen."""
        tokens, present = self._trim(inputs)
        states = self.encoder(input_ids=tokens).last_hidden_state
        ends = states[torch.arange(len(states), device=states.device), present.sum(dim=1) - 1]
        out: Tensor = self.encoder.text_projection(ends)  # type: ignore[operator]
        return out


class SiglipText(_Tokens):
    """SigLIP's text half: always padded to its full length, which it sees, as in its training.

    Its training took lower-case text without punctuation, so this does too.
    """

    MODEL, TYPES = "SiglipTextModel", frozenset({"siglip", "siglip_text_model"})
    MAX_TOKENS = 64

    def width(self) -> int:
        """Return W, the width of SigLIP's space."""
        return int(getattr(self.config, "projection_size", None) or self.config.hidden_size)

    def read_text(self, text: str) -> str:
        """Return the text in lower case, without ASCII punctuation, white space collapsed."""
        return " ".join(text.lower().translate(str.maketrans("", "", string.punctuation)).split())

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W], the pooled output."""
        tokens = inputs.masked_fill(inputs == ABSENT, self.settings["pad"])
        out: Tensor = self.encoder(input_ids=tokens).pooler_output
        return out
