"""Knowledge control: samples that obey a stated constraint (Gao et al. 2023).

There are two ways to make samples obey a constraint (`xforecast.models.constraints`). Both change nothing but the noise
that the denoiser predicts, so that they work with every sampler:

- :class:`NetworkGuidance`, the paper's: a trained network estimates the functional from the noisy latent, and every
  step goes down the gradient of the estimate's distance from the target;
- :class:`DecoderGuidance`, for any constraint, without training: the residual of the forecast that the denoiser
  expects is reduced by a given share, along the direction in which the denoiser itself is uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from xforecast.models.constraints import violation
from xforecast.models.prediff.samplers import Denoiser
from xforecast.models.prediff.schedule import NoiseSchedule

__all__ = ["DecoderGuidance", "NetworkGuidance"]

SMALLEST_COSINE = 0.1
"""Cosine between the gradient and the direction of uncertainty below which the denoiser's derivative is not trusted."""


class _Guided:
    """Base of guided denoisers; `trace` lists the violation before each step, (batch,) each."""

    def __init__(self, denoise: Denoiser, schedule: NoiseSchedule, strength: float):
        self.denoise, self.schedule, self.strength = denoise, schedule, strength
        self.trace: list[torch.Tensor] = []


class NetworkGuidance(_Guided):
    """The paper's knowledge alignment: guidance by a network that estimates the functional from the noisy latent.

    The mean of each ancestral step is shifted by ``-sigma_t strength grad E`` with the step's standard deviation, as in
    the authors' code, where E is the distance of the estimate from the target and the gradient is that with respect to
    z_t. For other samplers the same is said of the predicted noise; see
    :attr:`~xforecast.models.prediff.schedule.NoiseSchedule.guidance_factor`.

    Parameters
    ----------
    denoise : callable
        ``eps(z, t)``.
    schedule : NoiseSchedule
        How much noise each step of the diffusion adds.
    network : callable
        Gives the estimate from z_t and steps (batch,), such as
        :class:`~xforecast.models.prediff.alignment.KnowledgeAlignment`.
    compare : callable
        Gives residuals (batch, ...) from estimates.
    strength : float
        The published 50 is for 1000 ancestral steps; with few steps try once or twice as much.
    coupled : bool
        Whether there is one distance for all samples of a batch, as in the authors' code, by which samples depend on
        one another; otherwise each sample has its own.

    Examples
    --------
    >>> from xforecast.models.constraints import MeanIntensity
    >>> network = lambda z, t: z.mean(dim=(2, 3, 4))[..., None]
    >>> denoise, schedule = lambda z, t: torch.zeros_like(z), NoiseSchedule()
    >>> guided = NetworkGuidance(denoise, schedule, network, MeanIntensity(1.0).compare, strength=50.0)
    >>> guided(torch.zeros(1, 2, 4, 4, 1), 500).mean().item() < 0  # less noise means more signal
    True
    """

    def __init__(
        self,
        denoise: Denoiser,
        schedule: NoiseSchedule,
        network: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        compare: Callable[[torch.Tensor], torch.Tensor],
        strength: float = 50.0,
        *,
        coupled: bool = False,
    ):
        super().__init__(denoise, schedule, strength)
        self.network, self.compare, self.coupled = network, compare, coupled

    def __call__(self, z: torch.Tensor, t: int) -> torch.Tensor:
        noise = self.denoise(z, t)
        return noise + float(self.schedule.guidance_factor[t]) * self.shift(z, t)

    def shift(self, z: torch.Tensor, t: int) -> torch.Tensor:
        """Strength times the gradient of the distance, of the shape of `z`."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            steps = torch.full((len(z),), t, device=z.device)
            residual = self.compare(self.network(z, steps).float())
            distance = violation(residual)
            self.trace.append(distance.detach())
            total = torch.linalg.vector_norm(residual) if self.coupled else distance.sum()
            (gradient,) = torch.autograd.grad(total, z)
        return self.strength * gradient


class DecoderGuidance(_Guided):
    """Denoiser guided by the residual of the forecast that it expects; needs no training.

    The latent z_0 that the denoiser expects is decoded, and moved so that the norm of the residual falls by the share
    `strength`, to first order. It is moved along J grad E, where J, the derivative of the expected z_0 with respect to
    z_t, is proportional to the covariance of z_0 given z_t: where the denoiser is certain nothing changes. For one
    linear constraint, a normal distribution and strength 1 the samples are exactly those of the distribution given the
    constraint (compare Song et al. 2023, pseudoinverse guidance).

    Parameters
    ----------
    denoise : callable
        ``eps(z, t)``, differentiable.
    schedule : NoiseSchedule
        How much noise each step of the diffusion adds.
    residual : callable
        Gives the residual (batch, ...) of what `decode` gives.
    decode : callable
        Gives what is constrained from a clean latent; differentiable.
    strength : float
        Share of the residual that every step removes, in any units; 1 for all of it.
    through_denoiser : bool
        With False, J is taken as the identity: cheaper, since the denoiser need not be differentiated, but less
        faithful.
    cap : float, optional
        The most that one value of the decoded field may count in the direction, in means of what values count. Where
        the field is a logarithm, a mean is most easily raised by the largest values alone; with a cap of 1 all that
        is more than usual is raised by the same factor.

    Examples
    --------
    >>> from xforecast.models.constraints import MeanIntensity
    >>> denoise, schedule = lambda z, t: torch.zeros_like(z), NoiseSchedule()
    >>> guided = DecoderGuidance(denoise, schedule, MeanIntensity(1.0).residual)
    >>> z = torch.zeros(1, 2, 4, 4, 1)
    >>> schedule.predict_clean(z, torch.tensor([500]), guided(z, 500)).mean().round(decimals=4).item()
    1.0
    """

    def __init__(
        self,
        denoise: Denoiser,
        schedule: NoiseSchedule,
        residual: Callable[[torch.Tensor], torch.Tensor],
        decode: Callable[[torch.Tensor], torch.Tensor] = lambda z: z,
        strength: float = 1.0,
        *,
        through_denoiser: bool = True,
        cap: float | None = None,
    ):
        super().__init__(denoise, schedule, strength)
        self.residual, self.decode, self.through_denoiser, self.cap = residual, decode, through_denoiser, cap

    def __call__(self, z: torch.Tensor, t: int) -> torch.Tensor:
        kept = float(self.schedule.alphas_cumprod[t])
        with torch.set_grad_enabled(self.through_denoiser):
            z = z.detach().requires_grad_(self.through_denoiser)
            noise = self.denoise(z, t)
            clean = math.sqrt(1 / kept) * z - math.sqrt(1 / kept - 1) * noise
        residual, gradient, steeper = self._downhill(clean.detach())
        squared = _dot(residual, residual)
        self.trace.append(squared.sqrt())
        direction = gradient
        if self.through_denoiser:
            (uncertain,) = torch.autograd.grad(clean, z, gradient)
            direction = _trusted(uncertain, gradient)
        slope = steeper * _dot(direction, gradient)
        # To first order the norm then falls by the share `strength`; where it is zero there is nothing to move.
        share = torch.where(slope > 0, self.strength * squared / slope, 0.0)
        move = _for_each_sample(share, z) * direction
        return noise.detach() + math.sqrt(kept / (1 - kept)) * move

    def _downhill(self, guess: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Residual (batch, values), the gradient of half its square with the cap, and how much steeper the true one is.

        The last is that of the decoded values: to know it in the latent would take another pass through the decoder.
        """
        with torch.enable_grad():
            guess = guess.clone().requires_grad_()
            decoded = self.decode(guess)
            values = decoded.detach().requires_grad_()
            residual = self._residuals(values)
            (counts,) = torch.autograd.grad(0.5 * residual.square().sum(), values)
            capped = counts if self.cap is None else _capped(counts, self.cap)
            (gradient,) = torch.autograd.grad(decoded, guess, capped)
        square = _dot(capped, capped)
        return residual.detach(), gradient, torch.where(square > 0, _dot(counts, capped) / square, 1.0)

    def _residuals(self, decoded: torch.Tensor) -> torch.Tensor:
        return self.residual(decoded).float().reshape(len(decoded), -1)


def _capped(counts: torch.Tensor, cap: float) -> torch.Tensor:
    """Numbers of no more than `cap` times the mean size of those of the sample that are not zero."""
    sizes = counts.abs().flatten(1)
    mean = sizes.sum(dim=1) / (sizes > 0).sum(dim=1).clamp(min=1)
    limit = _for_each_sample(cap * mean, counts)
    return counts.clamp(-limit, limit)


def _for_each_sample(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Numbers (batch,) in a shape that broadcasts against another tensor (batch, ...)."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Inner product of every sample, (batch,)."""
    return (a * b).flatten(1).sum(dim=1)


def _trusted(direction: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The direction where it agrees with the gradient, else the gradient itself."""
    cosine = torch.cosine_similarity(direction.flatten(1), gradient.flatten(1), dim=1)
    return torch.where(_for_each_sample(cosine > SMALLEST_COSINE, gradient), direction, gradient)
