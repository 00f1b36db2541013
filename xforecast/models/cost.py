"""What a forecast costs, counted the same way for every model."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from xforecast.models.blocks import in_two_steps

__all__ = ["macs"]


def macs(model: nn.Module, input_shape: tuple[int, int, int, int], *, executed: bool = False) -> int:
    """Multiply-accumulates of one forecast: those of convolutions, matrix products and attention.

    Half of what :mod:`torch.utils.flop_counter` counts, which takes the product and the sum apart. Nothing is
    computed and no memory is needed, whatever the size of the model. Published "FLOPs" are often multiply-accumulates,
    and sometimes twice that.

    Parameters
    ----------
    model : Module
        Its forward pass, in evaluation, is counted; for the number of weights see
        :func:`~xforecast.models.count_parameters`.
    input_shape : (int, int, int, int)
        Shape of one history, (history, height, width, channel).
    executed : bool
        Count what is computed here, in place of what the published architecture asks for. They differ where a resize
        and the convolution after it are done in one step, as in :class:`~xforecast.models.Earthformer`.

    Returns
    -------
    int

    Examples
    --------
    >>> from xforecast.models import UNet
    >>> from xforecast.models.presets import unet_enso
    >>> config = unet_enso()
    >>> round(macs(UNet(config), (config.history, *config.grid, 1)) / 1e9, 3)
    0.348
    """
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: value.detach().to("meta") for name, value in state.items()}
    training = {module: module.training for module in model.modules()}
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), nullcontext() if executed else in_two_steps(), counter:
            functional_call(model.eval(), shapes, (torch.zeros(1, *input_shape, device="meta"),))
    finally:
        for module, was in training.items():
            module.training = was
    return counter.get_total_flops() // 2
