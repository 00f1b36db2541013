"""Diffusion: the noise schedule, and the loss of a network that predicts the noise (Ho et al. 2020; Gao et al. 2023).

A clean latent z_0 becomes ``z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) noise`` at step t = 0 ... T-1. The schedule knows
abar and nothing else; what predicts the noise is in :mod:`~xforecast.models.prediff.denoiser`, what goes back from z_T
to z_0 in :mod:`~xforecast.models.prediff.samplers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from xforecast.errors import InvalidOption
from xforecast.models.contract import Config, check_choice, check_positive

__all__ = ["PREDICTIONS", "SCHEDULES", "DiffusionLoss", "NoiseSchedule", "warming_average"]


def _scaled_linear(schedule: NoiseSchedule) -> np.ndarray:
    return np.linspace(schedule.first_beta**0.5, schedule.last_beta**0.5, schedule.steps) ** 2


def _linear(schedule: NoiseSchedule) -> np.ndarray:
    return np.linspace(schedule.first_beta, schedule.last_beta, schedule.steps)


def _sqrt(schedule: NoiseSchedule) -> np.ndarray:
    return np.linspace(schedule.first_beta, schedule.last_beta, schedule.steps) ** 0.5


def _cosine(schedule: NoiseSchedule) -> np.ndarray:
    share = np.arange(schedule.steps + 1) / schedule.steps
    kept = np.cos((share + schedule.cosine_offset) / (1 + schedule.cosine_offset) * np.pi / 2) ** 2
    return np.clip(1 - kept[1:] / kept[:-1], 0, 0.999)


SCHEDULES: dict[str, Callable[[NoiseSchedule], np.ndarray]] = {
    "scaled_linear": _scaled_linear,
    "linear": _linear,
    "sqrt": _sqrt,
    "cosine": _cosine,
}
"""Kinds of :class:`NoiseSchedule`: square root of beta linear in the step, beta linear, beta the square root of a line,
and the cosine of Nichol and Dhariwal (2021)."""

PREDICTIONS = ("noise", "clean")
"""What a denoiser predicts: the noise in z_t, or z_0."""

SMALLEST_VARIANCE = 1e-20


@dataclass(frozen=True)
class NoiseSchedule(Config):
    """How much noise each step of the diffusion adds; all tables are float64, indexed by the step.

    Parameters
    ----------
    kind : str
        A name in :data:`SCHEDULES`. The official "linear" is ``"scaled_linear"``: linear in the square root of beta.
    steps : int
        Number of steps T.
    first_beta, last_beta : float
        Variance of the noise that the first and the last step add.
    cosine_offset : float
        Offset of the cosine, for that kind only.
    large_variance : float
        Variance of ancestral sampling: 0 for that of the posterior given z_0, 1 for beta, or between
        (Ho et al. 2020, sec. 3.2).

    Examples
    --------
    >>> schedule = NoiseSchedule()
    >>> schedule.alphas_cumprod[[0, 500, 999]].round(5).tolist()
    [0.9999, 0.33127, 0.00073]
    >>> clean, noise, t = torch.randn(2, 3), torch.randn(2, 3), torch.tensor([10, 500])
    >>> z = schedule.add_noise(clean, t, noise)
    >>> torch.allclose(schedule.predict_clean(z, t, noise), clean, atol=1e-5)
    True
    """

    kind: str = "scaled_linear"
    steps: int = 1000
    first_beta: float = 1e-4
    last_beta: float = 2e-2
    cosine_offset: float = 8e-3
    large_variance: float = 0.0

    def validate(self) -> None:
        check_choice("schedule.kind", self.kind, SCHEDULES)
        check_positive("schedule.steps", self.steps)
        if not 0 < self.first_beta <= self.last_beta < 1:
            raise InvalidOption(
                "schedule.first_beta, last_beta",
                (self.first_beta, self.last_beta),
                "0 < first_beta <= last_beta < 1",
                "leave both out",
            )
        if not 0 <= self.large_variance <= 1:
            wanted = "a share between 0 and 1"
            raise InvalidOption("schedule.large_variance", self.large_variance, wanted, "large_variance=0.0")

    # ---------------------------------------------------------------- tables

    @cached_property
    def betas(self) -> np.ndarray:
        """Variance of the noise that each step adds."""
        return SCHEDULES[self.kind](self)

    @cached_property
    def alphas_cumprod(self) -> np.ndarray:
        """Share abar of the variance of z_0 that is left after each step."""
        return np.cumprod(1 - self.betas)

    @cached_property
    def alphas_cumprod_prev(self) -> np.ndarray:
        """Share abar of the variance of z_0 that is left before each step."""
        return np.append(1.0, self.alphas_cumprod[:-1])

    @cached_property
    def posterior_variance(self) -> np.ndarray:
        """Variance of one ancestral step."""
        small = self.betas * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)
        return (1 - self.large_variance) * small + self.large_variance * self.betas

    @cached_property
    def posterior_log_variance(self) -> np.ndarray:
        """Logarithm of the variance of one ancestral step; that of the last, which is zero, is taken as 1e-20."""
        return np.log(np.maximum(self.posterior_variance, SMALLEST_VARIANCE))

    @cached_property
    def posterior_mean_coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Factors of z_0 and of z_t in the mean of z_{t-1} given both (Ho et al. 2020, eq. 7)."""
        noise = 1 - self.alphas_cumprod
        of_clean = self.betas * np.sqrt(self.alphas_cumprod_prev) / noise
        return of_clean, (1 - self.alphas_cumprod_prev) * np.sqrt(1 - self.betas) / noise

    @cached_property
    def guidance_factor(self) -> np.ndarray:
        """Factor kappa by which a shift of the noise equals a shift of the ancestral mean by minus one deviation.

        Adding ``kappa_t g`` to the predicted noise moves the mean of z_{t-1} by ``-sigma_t g``, so that one rule of
        guidance serves every sampler.
        """
        deviation = np.exp(0.5 * self.posterior_log_variance)
        return np.sqrt((1 - self.alphas_cumprod) * (1 - self.betas)) * deviation / self.betas

    def bound_weights(self, prediction: str = "noise") -> np.ndarray:
        """Weight of each step's squared error in the variational bound (Ho et al. 2020, eq. 12)."""
        check_choice("prediction", prediction, PREDICTIONS)
        if prediction == "clean":
            weights = 0.5 * np.sqrt(self.alphas_cumprod) / (2 - self.alphas_cumprod)
        else:
            with np.errstate(divide="ignore"):
                variance = 2 * self.posterior_variance * (1 - self.betas) * (1 - self.alphas_cumprod)
                weights = self.betas**2 / variance
        # The last step has no variance; it counts as the one before.
        return np.concatenate([weights[1:2], weights[1:]]) if self.steps > 1 else weights

    # ---------------------------------------------------------------- between z_0, z_t and the noise

    def at(self, table: np.ndarray, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Values of a table at steps `t`, one for each sample, in the shape, precision and place of `like`."""
        values = torch.from_numpy(table)[t.cpu()]
        return values.to(like.device, like.dtype).reshape(-1, *(1,) * (like.ndim - 1))

    def add_noise(self, clean: torch.Tensor, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The noisy latent z_t.

        Parameters
        ----------
        clean, noise : Tensor, (batch, ...)
            Clean latent, and standard normal noise of its shape.
        t : LongTensor, (batch,)
            Diffusion step of each sample.
        """
        kept = self.alphas_cumprod
        return self.at(np.sqrt(kept), t, clean) * clean + self.at(np.sqrt(1 - kept), t, clean) * noise

    def predict_clean(self, z: torch.Tensor, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The clean latent z_0 from z_t and its noise."""
        kept = self.alphas_cumprod
        return self.at(np.sqrt(1 / kept), t, z) * z - self.at(np.sqrt(1 / kept - 1), t, z) * noise

    def predict_noise(self, z: torch.Tensor, t: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """The noise in z_t from z_t and the clean latent z_0."""
        kept = self.alphas_cumprod
        return self.at(np.sqrt(1 / (1 - kept)), t, z) * z - self.at(np.sqrt(kept / (1 - kept)), t, z) * clean


@dataclass(frozen=True)
class DiffusionLoss(Config):
    """Loss of a denoiser (Ho et al. 2020).

    Parameters
    ----------
    norm : {"l2", "l1"}
        Squared or absolute error.
    learned_uncertainty : bool
        Learn a log variance s_t for every step and minimise ``error / exp(s_t) + s_t``, as the published model does.
        The loss then can be negative.
    simple_weight, bound_weight : float
        Weights of this loss and of the variational bound.

    Examples
    --------
    >>> DiffusionLoss().learned_uncertainty
    True
    """

    norm: str = "l2"
    learned_uncertainty: bool = True
    simple_weight: float = 1.0
    bound_weight: float = 0.0

    def validate(self) -> None:
        check_choice("loss.norm", self.norm, ("l2", "l1"))

    def error(self, predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Mean error of every sample, (batch,); `weight` broadcasts against `target`."""
        difference = predicted.float() - target.float()
        error = difference.abs() if self.norm == "l1" else difference.square()
        if weight is None:
            return error.flatten(1).mean(1)
        weight = weight.expand_as(error).flatten(1)
        return (weight * error.flatten(1)).sum(1) / weight.sum(1).clamp_min(torch.finfo(weight.dtype).tiny)


def warming_average(
    decay: float = 0.9999,
) -> Callable[[torch.Tensor, torch.Tensor, int | torch.Tensor], torch.Tensor]:
    """Exponential moving average of weights that forgets fast at first.

    It is the `avg_fn` of :class:`torch.optim.swa_utils.AveragedModel`. After n updates the average keeps
    ``min(decay, (1 + n) / (10 + n))`` of itself, so that the initial weights do not linger.

    Parameters
    ----------
    decay : float
        Share that is kept in the long run.

    Returns
    -------
    callable
        Function from average, weights and number of updates to the new average.

    Examples
    --------
    >>> average = warming_average()
    >>> average(torch.tensor(0.0), torch.tensor(1.0), 1).item()  # doctest: +ELLIPSIS
    0.818...
    """

    def average(averaged: torch.Tensor, weights: torch.Tensor, updates: int | torch.Tensor) -> torch.Tensor:
        if not averaged.is_floating_point():  # tables of indices
            return weights
        n = float(updates)
        return torch.lerp(weights, averaged, min(decay, (1 + n) / (10 + n)))

    return average
