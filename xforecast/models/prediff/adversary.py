"""An adversary for the autoencoder, off unless asked for (Esser et al. 2021).

The published autoencoder was trained against it from some step on; its authors advise to leave it out where training
fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from xforecast.errors import InvalidOption
from xforecast.models.contract import Config, check_positive
from xforecast.models.prediff.autoencoder import Autoencoder, AutoencoderConfig

__all__ = ["AdversarialAutoencoder", "AdversarialAutoencoderConfig", "PatchDiscriminator", "adaptive_weight"]

LARGEST_WEIGHT = 1e4


class PatchDiscriminator(nn.Module):
    """Classifies patches of frames as real or made (Isola et al. 2017).

    Parameters
    ----------
    channels : int
        Channels of the frames.
    width : int
        Channels after the first convolution.
    layers : int
        Convolutions of stride 2.

    Examples
    --------
    >>> PatchDiscriminator(1)(torch.zeros(2, 3, 32, 32, 1)).shape
    torch.Size([6, 1, 2, 2])
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 3):
        super().__init__()
        widths = [width * min(2**k, 8) for k in range(layers + 1)]
        body: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for k in range(1, layers + 1):
            stride = 2 if k < layers else 1
            body += [
                nn.Conv2d(widths[k - 1], widths[k], 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(widths[k]),
                nn.LeakyReLU(0.2),
            ]
        self.main = nn.Sequential(*body, nn.Conv2d(widths[-1], 1, 4, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the patches of frames (..., height, width, channel): (frames, 1, rows, columns)."""
        return self.main(x.flatten(0, -4).movedim(-1, 1))

    def loss(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """Hinge loss of the classification of `real` and `made` frames; no gradient reaches the frames."""
        of_real, of_made = self(real.detach()), self(made.detach())
        return 0.5 * (functional.relu(1 - of_real).mean() + functional.relu(1 + of_made).mean())

    def fooled(self, made: torch.Tensor) -> torch.Tensor:
        """Loss of the network that made the frames; no gradient reaches the discriminator's weights.

        The original lets it reach them, and does not clear it before the discriminator's step, which then also follows
        a gradient that is larger by orders of magnitude and points the wrong way.
        """
        fixed = {name: parameter.detach() for name, parameter in self.named_parameters()}
        return -functional_call(self, fixed, (made,)).mean()


def adaptive_weight(error: torch.Tensor, fooled: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Factor that gives two losses gradients of the same size at `weight`, the last weight that both pass (Esser 2021).

    Zero where no gradients are recorded.

    Examples
    --------
    >>> weight = torch.ones(1, requires_grad=True)
    >>> round(adaptive_weight((3 * weight).sum(), (2 * weight).sum(), weight).item(), 3)
    1.5
    """
    if not (error.requires_grad and fooled.requires_grad):
        return torch.zeros((), device=error.device)
    (of_error,) = torch.autograd.grad(error, weight, retain_graph=True)
    (of_fooled,) = torch.autograd.grad(fooled, weight, retain_graph=True)
    return (of_error.norm() / (of_fooled.norm() + 1e-4)).clamp(0.0, LARGEST_WEIGHT).detach()


@dataclass(frozen=True, kw_only=True)
class AdversarialAutoencoderConfig(Config):
    """What an :class:`AdversarialAutoencoder` is.

    Parameters
    ----------
    autoencoder : AutoencoderConfig
        Configuration of the autoencoder.
    weight : float
        Weight of the adversary in the loss, relative to the error of the frames.
    start : int
        Training steps before the adversary takes part. The published 50001 counts both networks' steps.
    width, layers : int
        Options of the :class:`PatchDiscriminator`.

    Examples
    --------
    >>> AdversarialAutoencoderConfig(autoencoder=AutoencoderConfig()).weight
    0.5
    """

    autoencoder: AutoencoderConfig
    weight: float = 0.5
    start: int = 25_000
    width: int = 64
    layers: int = 3

    def validate(self) -> None:
        check_positive("adversary.width, adversary.layers", self.width, self.layers)
        check_positive("adversary.start", self.start, least=0)
        if self.weight < 0:
            raise InvalidOption("adversary.weight", self.weight, "a number of at least 0", "weight=0.5")


class AdversarialAutoencoder(nn.Module):
    """An autoencoder and its adversary, with one loss that trains both.

    The two share no gradient: the autoencoder's loss leaves the discriminator's weights alone, and the discriminator's
    leaves the frames alone. Any training loop with one optimiser will do; keep `autoencoder` afterwards.

    Parameters
    ----------
    config : AdversarialAutoencoderConfig
        Sizes and options of the model.
    autoencoder : Autoencoder, optional
        The autoencoder to be trained; a new one if left out.

    Examples
    --------
    >>> small = AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4)
    >>> model = AdversarialAutoencoder(AdversarialAutoencoderConfig(autoencoder=small, width=8, layers=2, start=0))
    >>> model.loss(torch.rand(2, 16, 16, 1)).isfinite().item()
    True
    """

    steps: torch.Tensor

    def __init__(self, config: AdversarialAutoencoderConfig, autoencoder: Autoencoder | None = None):
        super().__init__()
        self.config = config
        self.autoencoder = Autoencoder(config.autoencoder) if autoencoder is None else autoencoder
        self.discriminator = PatchDiscriminator(config.autoencoder.output_channels, config.width, config.layers)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Frames made again by the autoencoder."""
        return self.autoencoder(x)

    def loss(self, x: torch.Tensor, y: torch.Tensor | None = None, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Sum of the losses of both networks; the discriminator's is zero before the adversary takes part.

        Parameters are those of :meth:`xforecast.models.prediff.autoencoder.Autoencoder.loss`.
        """
        y = x if y is None else y
        posterior = self.autoencoder.encode(x)
        made = self.autoencoder.decode(posterior.sample(), grid=(x.shape[-3], x.shape[-2]))
        active = bool(self.steps >= self.config.start)
        if self.training:
            self.steps += 1
        loss = self.generator_loss(made, y, posterior, weight, active=active)
        if not active:
            return loss
        known = y if weight is None else torch.where(weight == 0, made.detach(), y)
        return loss + self.discriminator.loss(known, made)

    def generator_loss(
        self,
        made: torch.Tensor,
        y: torch.Tensor,
        posterior,
        weight: torch.Tensor | None = None,
        *,
        active: bool = True,
    ) -> torch.Tensor:
        """Loss of the autoencoder: error, divergence and, if `active`, how little the adversary is fooled."""
        error, divergence = self.autoencoder.loss_terms(made, y, posterior, weight)
        loss = error + self.autoencoder.config.kl_weight * divergence
        if not active:
            return loss
        fooled = self.discriminator.fooled(made)
        last = self.autoencoder.decoder.head.convolution.weight
        return loss + self.config.weight * adaptive_weight(error, fooled, last) * fooled
