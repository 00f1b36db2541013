"""Samplers: from noise z_T to a clean latent z_0 with a denoiser, in any number of steps.

A sampler is given the denoiser ``eps(z, t)``, a start, a schedule, the steps to visit and a source of noise, and yields
the latent after every step. It knows nothing of networks, conditions or guidance. All samplers solve the same
diffusion; with its exact score they agree in the limit of many steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from xforecast.errors import InvalidOption
from xforecast.models.contract import check_choice, check_positive
from xforecast.models.prediff.schedule import NoiseSchedule

__all__ = [
    "SAMPLERS",
    "Denoiser",
    "Noise",
    "Sampler",
    "ddim",
    "dpm_solver",
    "sample",
    "sample_noise",
    "spaced_steps",
]

Denoiser = Callable[[torch.Tensor, int], torch.Tensor]
"""Predicts the noise in z_t, of the shape of z_t, from z_t and the step t, which is the same for all samples."""

Noise = Callable[[], torch.Tensor]
"""Gives new standard normal noise of the shape of the latent."""


def _moments(schedule: NoiseSchedule, t: int) -> tuple[float, float]:
    """Shares of the variance of z_t that are signal and noise; step -1 is the clean latent."""
    kept = float(schedule.alphas_cumprod[t]) if t >= 0 else 1.0
    return kept, 1 - kept


def ddim(
    denoise: Denoiser,
    z: torch.Tensor,
    schedule: NoiseSchedule,
    steps: Sequence[int],
    noise: Noise,
    eta: float = 0.0,
) -> Iterator[torch.Tensor]:
    """Denoising diffusion implicit models (Song et al. 2021); with `eta` 1 ancestral sampling (Ho et al. 2020).

    Parameters
    ----------
    denoise : callable
        ``eps(z, t)``.
    z : Tensor, (batch, ...)
        Latent at the first of `steps`.
    schedule : NoiseSchedule
        How much noise each step of the diffusion adds.
    steps : sequence of int
        Steps to visit, in falling order.
    noise : callable
        Gives noise of the shape of `z`; called where there is some to add.
    eta : float
        Share of the noise that is drawn anew: 0 for none, 1 for as much as in ancestral sampling.

    Yields
    ------
    Tensor, (batch, ...)
        The latent after every step; the last is clean.

    Examples
    --------
    >>> schedule, z = NoiseSchedule(), torch.randn(1, 4)
    >>> pure_noise = lambda z, t: z / math.sqrt(1 - schedule.alphas_cumprod[t])  # the data are zero
    >>> *_, clean = ddim(pure_noise, z, schedule, [999, 500], noise=lambda: torch.randn(1, 4))
    >>> clean.abs().max().item() < 1e-5
    True
    """
    mix = schedule.large_variance
    for t, following in pairwise((*steps, -1)):
        kept, spread = _moments(schedule, t)
        kept_next, spread_next = _moments(schedule, following)
        step_variance = 1 - kept / kept_next
        posterior = spread_next / spread * step_variance
        variance = eta**2 * posterior
        # The coefficients of z and of the noise, each summed in float64: far from the data they nearly cancel.
        of_z = math.sqrt(kept_next / kept)
        of_noise = math.sqrt(max(spread_next - variance, 0.0)) - of_z * math.sqrt(spread)
        z = of_z * z + of_noise * denoise(z, t)
        drawn = eta**2 * ((1 - mix) * posterior + mix * step_variance)
        if drawn and following >= 0:
            z = z + math.sqrt(drawn) * noise()
        yield z


def dpm_solver(
    denoise: Denoiser,
    z: torch.Tensor,
    schedule: NoiseSchedule,
    steps: Sequence[int],
    noise: Noise,
    eta: float = 0.0,
) -> Iterator[torch.Tensor]:
    """DPM-Solver++(2M) (Lu et al. 2022): second order in the predicted clean latent, one call of the denoiser a step.

    Parameters and yields are those of :func:`ddim`. With `eta` 1 it solves the stochastic equation instead of that of
    the probability flow (SDE-DPM-Solver++).

    Examples
    --------
    >>> schedule, z = NoiseSchedule(), torch.randn(1, 4)
    >>> pure_noise = lambda z, t: z / math.sqrt(1 - schedule.alphas_cumprod[t])
    >>> *_, clean = dpm_solver(pure_noise, z, schedule, [999, 500], noise=lambda: torch.randn(1, 4))
    >>> clean.abs().max().item() < 1e-5
    True
    """
    previous, previous_width = None, 1.0
    for t, following in pairwise((*steps, -1)):
        kept, spread = _moments(schedule, t)
        clean = z * math.sqrt(1 / kept) - denoise(z, t) * math.sqrt(spread / kept)
        if following < 0:
            yield clean
            return
        kept_next, spread_next = _moments(schedule, following)
        width = 0.5 * math.log(kept_next * spread / (spread_next * kept))  # in the logarithm of signal to noise
        estimate = clean if previous is None else clean + width / (2 * previous_width) * (clean - previous)
        of_z = math.sqrt(spread_next / spread) * math.exp(-eta * width)
        z = of_z * z - math.sqrt(kept_next) * math.expm1(-(1 + eta) * width) * estimate
        if eta:
            z = z + math.sqrt(-spread_next * math.expm1(-2 * eta * width)) * noise()
        previous, previous_width = clean, width
        yield z


def spaced_steps(count: int, total: int, spacing: str = "trailing") -> list[int]:
    """Steps to visit out of `total`, in falling order; `count` need not divide `total`.

    Parameters
    ----------
    count, total : int
        Number of steps to visit, and of all steps.
    spacing : {"trailing", "linspace", "leading"}
        The last step of every interval, so that the first is pure noise; points of a line from the last step to the
        first, without the latter; or the first step of every interval (compare Lin et al. 2024).

    Examples
    --------
    >>> spaced_steps(3, 1000), spaced_steps(4, 1000, "linspace"), spaced_steps(4, 1000, "leading")
    ([999, 666, 332], [999, 749, 500, 250], [750, 500, 250, 0])
    """
    check_positive("steps", count)
    if count > total:
        raise InvalidOption("steps", count, f"at most the schedule's {total}", f"steps={total}")
    check_choice("spacing", spacing, ("trailing", "linspace", "leading"))
    if count == total:
        return list(range(total - 1, -1, -1))
    if spacing == "leading":
        return [total * k // count for k in range(count)][::-1]
    if spacing == "trailing":
        return [round(total * (count - k) / count) - 1 for k in range(count)]
    line = np.linspace(0, total - 1, count + 1).round().astype(int)[1:]
    return np.unique(line).tolist()[::-1]


@dataclass(frozen=True)
class Sampler:
    """A way to sample, with its default options.

    Parameters
    ----------
    solve : callable
        :func:`ddim` or :func:`dpm_solver`.
    spacing : str
        How its steps are spaced, an option of :func:`spaced_steps`.
    steps : int, optional
        Number of steps; all of them if left out.
    eta : float
        Share of noise that is drawn anew.

    Examples
    --------
    >>> SAMPLERS["dpm++"].steps
    20
    """

    solve: Callable[..., Iterator[torch.Tensor]]
    spacing: str
    steps: int | None
    eta: float


SAMPLERS: dict[str, Sampler] = {
    "dpm++": Sampler(dpm_solver, "linspace", 20, 0.0),
    "dpm++sde": Sampler(dpm_solver, "linspace", 25, 1.0),
    "ddim": Sampler(ddim, "trailing", 50, 0.0),
    "ddpm": Sampler(ddim, "trailing", None, 1.0),
}
"""Samplers by name: DPM-Solver++(2M), its stochastic form, DDIM, and ancestral sampling as in the paper."""


def sample(
    denoise: Denoiser,
    start: torch.Tensor,
    schedule: NoiseSchedule,
    noise: Noise,
    *,
    sampler: str = "dpm++",
    steps: int | None = None,
    eta: float | None = None,
) -> torch.Tensor:
    """The clean latent that a sampler comes to.

    Parameters
    ----------
    denoise : callable
        ``eps(z, t)``.
    start : Tensor, (batch, ...)
        Standard normal noise.
    schedule : NoiseSchedule
        How much noise each step of the diffusion adds.
    noise : callable
        Gives standard normal noise of the shape of `start`.
    sampler : str
        A name in :data:`SAMPLERS`.
    steps : int, optional
        Number of calls of the denoiser.
    eta : float, optional
        Share of noise that is drawn anew, between 0 and 1.

    Returns
    -------
    Tensor, (batch, ...)

    Raises
    ------
    InvalidOption
        For an unknown sampler, and for numbers of steps or shares of noise that cannot be.

    Examples
    --------
    >>> schedule = NoiseSchedule()
    >>> pure_noise = lambda z, t: z / math.sqrt(1 - schedule.alphas_cumprod[t])
    >>> sample(pure_noise, torch.randn(2, 3), schedule, lambda: torch.randn(2, 3), steps=5).shape
    torch.Size([2, 3])
    """
    check_choice("sampler", sampler, SAMPLERS)
    chosen = SAMPLERS[sampler]
    eta = chosen.eta if eta is None else eta
    if not 0 <= eta <= 1:
        raise InvalidOption("eta", eta, "a share between 0 and 1", "leave eta= out")
    count = min(chosen.steps or schedule.steps, schedule.steps) if steps is None else steps
    visited = spaced_steps(count, schedule.steps, chosen.spacing)
    *_, clean = chosen.solve(denoise, start, schedule, visited, noise, eta)
    return clean


def sample_noise(
    generators: Sequence[torch.Generator], shape: Sequence[int], like: torch.Tensor | None = None
) -> Noise:
    """Noise that every sample draws from its own generator, whatever else is in the batch.

    Parameters
    ----------
    generators : sequence of torch.Generator
        On the CPU, so that all devices see the same numbers.
    shape : sequence of int
        Shape of one sample.
    like : Tensor, optional
        Whose device and precision the noise gets; float32 on the CPU if left out.

    Returns
    -------
    callable
        Gives a tensor (len(generators), *shape) each time it is called.

    Examples
    --------
    >>> def seeded(*seeds):
    ...     return [torch.Generator().manual_seed(seed) for seed in seeds]
    >>> torch.equal(sample_noise(seeded(1, 2), (3,))()[1:], sample_noise(seeded(2), (3,))())
    True
    """

    def draw() -> torch.Tensor:
        drawn = [torch.randn(*shape, generator=own, dtype=torch.float32, device="cpu") for own in generators]
        noise = torch.stack(drawn)
        return noise if like is None else noise.to(like.device, like.dtype)

    return draw
