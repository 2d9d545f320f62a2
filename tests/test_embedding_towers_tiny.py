"""The tiny towers' faster way of training computes what the plain way does."""

import copy

import pytest
import torch
from torch import Tensor, nn

from curiosity.embedding.towers.audio import BANDS, FRAMES, TinyAudio
from curiosity.embedding.towers.image import SIDE_PX, TinyImage


def take_gradients(tower: nn.Module, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
    out: Tensor = tower(rows)
    out.square().sum().backward()  # type: ignore[no-untyped-call]
    return out.detach(), [p.grad for p in tower.parameters() if p.grad is not None]


@pytest.mark.parametrize("rows", [2, 7])
def test_sound_frame_by_frame_is_sound_by_channel(rows: int) -> None:
    torch.manual_seed(0)
    tower = TinyAudio(16, widths=(12, 20)).double().train()
    plain = copy.deepcopy(tower)
    plain._encode_by_frame = lambda inputs: plain.encoder(inputs.transpose(1, 2)).transpose(1, 2)  # type: ignore[method-assign]
    inputs = torch.rand(rows, FRAMES, BANDS, dtype=torch.float64)
    (out, gradients), (expected, wanted) = take_gradients(tower, inputs), take_gradients(plain, inputs)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    assert len(gradients) == len(wanted) == len(list(tower.parameters()))
    for gradient, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-10, atol=1e-12)
    # What batch-norm remembers is what evaluation uses.
    for name, buffer in tower.named_buffers():
        torch.testing.assert_close(buffer, dict(plain.named_buffers())[name])


def test_pictures_with_channels_last_are_pictures() -> None:
    torch.manual_seed(0)
    tower = TinyImage(16, widths=(8, 8, 8, 8)).double().train()
    plain = copy.deepcopy(tower)
    inputs = torch.rand(5, 3, SIDE_PX, SIDE_PX, dtype=torch.float64)
    out = tower(inputs)
    torch.testing.assert_close(out, plain.projection(plain.encoder(inputs)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("tower", "shape"), [(TinyAudio(16), (FRAMES, BANDS)), (TinyImage(16), (3, SIDE_PX, SIDE_PX))])
def test_alone_or_in_a_batch_is_the_same(tower: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    tower.eval()
    inputs = torch.rand(9, *shape)
    with torch.inference_mode():
        together = nn.functional.normalize(tower(inputs), dim=1)
        alone = torch.cat([nn.functional.normalize(tower(inputs[i : i + 1]), dim=1) for i in range(9)])
    assert float((together - alone).abs().max()) < 1e-6
