"""A frame that is smoothed more and more with lead, as small rain does not last."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Fading"]

LAST_WIDTH = 4.0
"""Cells that the last lead is smoothed with before training."""
REACH = 16
"""Cells to each side that smoothing looks at."""


class Fading(nn.Module):
    """A frame smoothed with normal weights that are the wider the longer the lead; the widths are learnt.

    Smoothed is exp(x), by which large values count more, as means of a rate whose logarithm is x.

    Parameters
    ----------
    horizon : int
        Number of leads.

    Examples
    --------
    >>> Fading(3)(torch.ones(2, 16, 16, 1)).shape
    torch.Size([2, 3, 16, 16, 1])
    """

    def __init__(self, horizon: int):
        super().__init__()
        widths = torch.arange(1.0, horizon + 1) * LAST_WIDTH / horizon
        self.log_widths = nn.Parameter(widths.log())
        self.log_emphasis = nn.Parameter(torch.zeros(()))

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """Frames (batch, horizon, height, width, channel) of one (batch, height, width, channel)."""
        emphasis = self.log_emphasis.exp()
        batch, height, width, channels = frame.shape
        leads = len(self.log_widths)
        field = (emphasis * frame).exp().movedim(-1, 1).reshape(batch * channels, 1, height, width)
        place = torch.arange(-REACH, REACH + 1, device=frame.device, dtype=frame.dtype)
        weights = torch.exp(-(place**2) / (2 * self.log_widths[:, None].exp() ** 2))
        weights = (weights / weights.sum(1, keepdim=True))[:, None]
        field = nn.functional.pad(field, (REACH,) * 4, mode="replicate")
        field = nn.functional.conv2d(field, weights[:, :, None, :])
        field = nn.functional.conv2d(field, weights[..., None], groups=leads)
        smooth = field.clamp(min=torch.finfo(field.dtype).tiny).log() / emphasis
        return smooth.reshape(batch, channels, leads, height, width).movedim(1, -1)
