"""Decoding in parts gives the error and the gradients of decoding at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pipeline.autoencoder import Decoder
from pipeline.core import parts


@pytest.mark.parametrize("at_once", [1, 2, 5, 9])
def test_parts_make_up_the_whole(at_once: int) -> None:
    torch.manual_seed(0)
    decoder = Decoder(3, 6, [4, 8], 1, True).double()
    z, images = torch.randn(5, 6, 2, 2).double(), torch.rand(5, 3, 8, 8).double()
    found = []
    for whole in (True, False):
        leaf = z.clone().requires_grad_()
        decoder.zero_grad()
        error = F.mse_loss(decoder(leaf), images)
        if not whole:
            error = parts.squared_error(decoder, leaf, images, at_once)
        (3 * error).backward()
        found.append([error.detach(), leaf.grad, *(weight.grad.clone() for weight in decoder.parameters())])
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


def test_how_many_images_at_once() -> None:
    assert parts.at_once(torch.empty(3, 64, 14, 14)) == 2**22 // (64 * 14 * 14)
    assert parts.at_once(torch.empty(2, 64, 512, 512, device="meta")) == 1
