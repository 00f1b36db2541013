"""Linear inverse model: empirical modes, a linear propagator between them, and the noise that sustains it.

The state is the vector z of principal components of the training series. Its evolution is taken as linear
with noise,

    z(t + 1) = G s(t) + e(t),    s(t) = z(t),

and everything comes from covariances of the series: the propagator over a lag is G = C(lag) C(0)^-1, and the
noise covariance follows from the balance of fluctuation and dissipation, Q = C(0) - G C(0) G^T [1]_. Two
extensions serve systems that a single frame and a single propagator do not describe: a propagator for each
phase of a cycle (the cyclostationary form of [2]_ and [3]_), and earlier frames in s(t), which stand for
unobserved variables.

.. [1] Penland, C. and Sardeshmukh, P. D. (1995), The optimal growth of tropical sea surface temperature
   anomalies, J. Climate 8, 1999-2024.
.. [2] OrtizBeviá, M. J. (1997), Estimation of the cyclostationary dependence in geophysical data fields,
   J. Geophys. Res. 102 (D12), 13473-13486.
.. [3] Shin, S.-I., Sardeshmukh, P. D., Newman, M., Penland, C. and Alexander, M. A. (2021), Impact of annual
   cycle on ENSO variability and predictability, J. Climate 34, 171-193.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.catalogue import register
from xforecast.models.contract import Abilities, Config, check_axes, check_positive, check_shape, weighted_mse

__all__ = ["LinearInverseModel", "LinearInverseModelConfig"]


@dataclass(frozen=True, kw_only=True)
class LinearInverseModelConfig(Config):
    """Configuration of `LinearInverseModel`.

    Parameters
    ----------
    history, horizon : int
        Number of time steps that go in and that come out.
    grid : (int, int)
        Height and width of the data.
    input_channels, output_channels : int
        The first input channels are those of the forecast; a seasonal model reads the sine and cosine of the
        cycle from the two that follow them.
    modes : int
        Number of empirical orthogonal functions.
    lag : int
        Lag, in steps, at which the propagator is estimated; only for the plain model.
    memory : tuple of int
        Ages, in steps, of the frames that make up the state; 0 is the newest.
    seasonal : bool
        Whether each phase of the cycle has its own propagator and noise.
    period : int
        Steps in a cycle.
    season_width : int
        A phase learns from the phases up to this many steps away, with weights that fall linearly.
    ridge, seasonal_ridge : float
        Penalty, in numbers of frames, on the propagator and on its departures from the annual mean, for
        principal components of unit variance. Regression with ``ridge=0`` is ``C(lag) C(0)^-1``.
    stochastic : bool
        Whether a forecast consists of samples with noise, in place of the expectation alone.
    """

    history: int
    horizon: int
    grid: tuple[int, int]
    input_channels: int = 1
    output_channels: int = 1
    modes: int = 10
    lag: int = 1
    memory: tuple[int, ...] = (0,)
    seasonal: bool = False
    period: int = 12
    season_width: int = 3
    ridge: float = 0.0
    seasonal_ridge: float = 100.0
    stochastic: bool = False

    def validate(self) -> None:
        for name in ("history", "horizon", "input_channels", "output_channels", "modes", "lag", "period"):
            check_positive(name, getattr(self, name))
        check_axes("grid", self.grid, (24, 48))
        check_positive("season_width", self.season_width, least=0)
        ages = sorted(set(self.memory))
        if tuple(ages) != self.memory or not ages or ages[0] != 0 or ages[-1] >= self.history:
            wanted = f"increasing ages from 0 to at most {self.history - 1}"
            raise InvalidOption("memory", self.memory, wanted, "memory=(0,)")
        if self.lag > 1 and (self.seasonal or len(self.memory) > 1):
            raise InvalidOption("lag", self.lag, "1 for a model with seasons or memory", "lag=1")
        if self.input_channels < self.output_channels + (2 if self.seasonal else 0):
            raise InvalidOption(
                "input_channels",
                self.input_channels,
                "the channels of the forecast" + (", and the sine and cosine of the cycle" if self.seasonal else ""),
                f"input_channels={self.output_channels + (2 if self.seasonal else 0)}",
            )
        if min(self.ridge, self.seasonal_ridge) < 0:
            name = "ridge" if self.ridge < 0 else "seasonal_ridge"
            raise InvalidOption(name, getattr(self, name), "0 or more", f"{name}=0.0")


class LinearInverseModel(nn.Module):
    """Forecasts by a linear propagator between empirical modes, fitted in closed form to one long series.

    Nothing is learnt by gradient: call `fit_series`. Without noise the model gives the expectation of the
    future; with noise it draws samples of it (`sample`) or makes a series of its own (`simulate`).

    Parameters
    ----------
    config : LinearInverseModelConfig
        Sizes and options of the model.

    References
    ----------
    Penland and Sardeshmukh (1995), J. Climate 8, 1999-2024; with seasons, OrtizBeviá (1997), J. Geophys.
    Res. 102 (D12), 13473-13486, and Shin et al. (2021), J. Climate 34, 171-193.

    Examples
    --------
    A damped oscillation of two cells is found from its own history, and continued:

    >>> step = torch.tensor([[0.8, 0.5], [-0.5, 0.8]])
    >>> frames = [torch.tensor([1.0, 0.0])]
    >>> for _ in range(30):
    ...     frames.append(step @ frames[-1])
    >>> series = torch.stack(frames).reshape(31, 1, 2, 1)
    >>> config = LinearInverseModelConfig(history=1, horizon=3, grid=(1, 2), modes=2)
    >>> model = LinearInverseModel(config).fit_series(series[:27])
    >>> torch.allclose(model(series[None, 27:28])[0], series[28:], atol=1e-5)
    True
    """

    abilities = Abilities(bound_to_places=True, closed_form=True)
    patterns: torch.Tensor
    root_weight: torch.Tensor
    propagator: torch.Tensor
    noise: torch.Tensor

    def __init__(self, config: LinearInverseModelConfig):
        super().__init__()
        self.config = config
        if config.stochastic:
            self.abilities = dataclasses.replace(type(self).abilities, samples=None)
        cells, modes = config.grid[0] * config.grid[1] * config.output_channels, config.modes
        phases = config.period if config.seasonal else 1
        self.register_buffer("patterns", torch.zeros(modes, cells))
        self.register_buffer("root_weight", torch.ones(cells))
        self.register_buffer("propagator", torch.zeros(phases, modes * len(config.memory), modes))
        self.register_buffer("noise", torch.zeros(phases, modes, modes))

    # -------------------------------------------------------------- fitting

    @torch.no_grad()
    def fit_series(self, series: torch.Tensor, weight: torch.Tensor | None = None) -> Self:
        """Estimate modes, propagator and noise from one long series.

        Parameters
        ----------
        series : Tensor, (time, height, width, channel)
            Normalised anomalies with the input's channels. A frame with NaN is a gap: nothing is learnt from
            it or across it.
        weight : Tensor, optional
            Broadcasts against (height, width, channel): area, zero over land.

        Returns
        -------
        LinearInverseModel
            Itself, fitted.

        Raises
        ------
        InvalidOption
            If the series does not have the model's cells, or is shorter than its modes need.
        """
        (height, width), channels = self.config.grid, self.config.output_channels
        series = series.to(self.patterns.device, torch.float64)
        check_shape(series, (height, width, self.config.input_channels))
        root = torch.ones(height, width, channels, dtype=torch.float64, device=series.device)
        root = (root if weight is None else root * weight.to(root)).sqrt().flatten()
        frames = series[..., :channels].flatten(1)
        present = frames[:, root > 0].isfinite().all(1)
        if present.sum() <= self.config.modes * len(self.config.memory):
            raise InvalidOption(
                "frames without gaps",
                int(present.sum()),
                f"more than modes times memory = {self.config.modes * len(self.config.memory)}",
                "give a longer series, or use fewer modes",
            )
        weighted = torch.where(root > 0, frames, 0.0).nan_to_num() * root
        _, _, patterns = torch.linalg.svd(weighted[present], full_matrices=False)
        patterns = _upright(patterns[: self.config.modes])
        components = weighted @ patterns.T
        components[~present] = torch.nan
        operator, noise = self._regress(components, self._phase(series))
        self.root_weight.copy_(root)
        self.patterns.copy_(patterns)
        self.propagator.copy_(operator)
        self.noise.copy_(noise)
        return self

    def _regress(self, components: torch.Tensor, phase: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Propagator (phase, state, modes) and a root of the noise covariance (phase, modes, modes)."""
        config = self.config
        oldest, steps = config.memory[-1], len(components) - config.lag
        scale = components[components.isfinite().all(1)].std(0)
        scaled = components / scale
        state = torch.cat([scaled[oldest - age : steps - age] for age in config.memory], dim=1)
        future, now = scaled[oldest + config.lag :], phase[oldest:steps]
        present = (state.isfinite().all(1) & future.isfinite().all(1)).nonzero().squeeze(1)
        state, future, now = state[present], future[present], now[present]

        mean = _ridge(state, future, config.ridge)
        operators, factors = [], []
        for at in range(len(self.propagator)):
            season = self._season_weight(now, at)
            operator = mean
            if config.seasonal:
                operator = mean + _ridge(state * season, (future - state @ mean) * season, config.seasonal_ridge)
            if config.lag > 1:
                operator = _fractional_power(operator, 1 / config.lag)
            factors.append(_noise_factor(state * season, future * season, operator, season) * scale)
            operators.append(operator * scale / scale.repeat(len(config.memory))[:, None])
        return torch.stack(operators), torch.stack(factors)

    def _season_weight(self, phase: torch.Tensor, at: int) -> torch.Tensor:
        """Square root of the weight of each frame for one phase of the cycle, (time, 1)."""
        if not self.config.seasonal:
            return torch.ones(len(phase), 1, dtype=torch.float64, device=phase.device)
        half = self.config.period // 2
        distance = ((phase - at + half) % self.config.period - half).abs()
        return (1 - distance / (self.config.season_width + 1)).clamp(min=0).double().sqrt()[:, None]

    # -------------------------------------------------------------- forecasting

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Expectation of the future.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
            The histories.

        Returns
        -------
        Tensor, (batch, horizon, height, width, channel)
        """
        return self._run(x, None)

    def sample(
        self,
        x: torch.Tensor,
        starts: torch.Tensor,
        samples: torch.Tensor,
        generators: Sequence[torch.Generator],
    ) -> torch.Tensor:
        """Draw samples of the future; see :meth:`xforecast.models.contract.ProbabilisticModel.sample`."""
        shape = (self.config.horizon, self.config.modes)
        normal = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        return self._run(x[starts.to(x.device)], normal.to(x))

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted mean squared error of the expectation."""
        return weighted_mse(self(x), y, weight)

    @torch.no_grad()
    def simulate(self, steps: int, generator: torch.Generator, *, series: int = 1, spin_up: int = 240) -> torch.Tensor:
        """Make series of the model's own climate.

        Parameters
        ----------
        steps : int
            Length of each series.
        generator : torch.Generator
            Source of randomness, on the CPU.
        series : int
            Number of series.
        spin_up : int
            Steps from rest that are thrown away, rounded up to complete cycles.

        Returns
        -------
        Tensor, (series, steps, height, width, channel)
            Channels of the target, followed for a seasonal model by the sine and cosine of the cycle; the
            first frame is at phase 0.
        """
        config, modes = self.config, self.config.modes
        spin_up = math.ceil(spin_up / config.period) * config.period
        oldest = config.memory[-1]
        components = torch.zeros(oldest + 1 + spin_up + steps, series, modes)
        for time in range(oldest + 1, len(components)):
            at = (time - oldest - 2) % config.period if config.seasonal else 0  # phase of the frame before
            state = torch.cat([components[time - 1 - age] for age in config.memory], dim=1)
            normal = torch.randn(series, modes, generator=generator)
            components[time] = state @ self.propagator[at].cpu() + normal @ self.noise[at].cpu()
        fields = self._fields(components[-steps:].transpose(0, 1).to(self.patterns))
        if not config.seasonal:
            return fields
        angle = 2 * torch.pi * torch.arange(steps) / config.period
        cycle = torch.stack([angle.sin(), angle.cos()], dim=-1).to(fields)
        return torch.cat([fields, cycle[:, None, None].expand(*fields.shape[:4], 2)], dim=-1)

    def _run(self, x: torch.Tensor, normal: torch.Tensor | None) -> torch.Tensor:
        config, memory = self.config, self.config.memory
        check_shape(x, (config.history, *config.grid, config.input_channels))
        frames = x[:, config.history - 1 - memory[-1] :, ..., : config.output_channels].flatten(2)
        components = list(((frames * self.root_weight) @ self.patterns.T).unbind(1))
        phase = self._phase(x[:, -1])
        for lead in range(config.horizon):
            at = (phase + lead) % len(self.propagator)
            state = torch.cat([components[-1 - age] for age in memory], dim=1)
            ahead = torch.einsum("bs,bsm->bm", state, self.propagator[at])
            if normal is not None:
                ahead = ahead + torch.einsum("bn,bnm->bm", normal[:, lead], self.noise[at])
            components.append(ahead)
        return self._fields(torch.stack(components[-config.horizon :], dim=1))

    def _fields(self, components: torch.Tensor) -> torch.Tensor:
        """Fields (..., height, width, channel) of components (..., modes); zero where the weight is."""
        inverse = torch.where(self.root_weight > 0, 1 / self.root_weight, 0.0)
        return ((components @ self.patterns) * inverse).unflatten(-1, (*self.config.grid, self.config.output_channels))

    def _phase(self, frames: torch.Tensor) -> torch.Tensor:
        """Phase of frames (batch, height, width, channel) in the cycle, in steps; zero without seasons."""
        if not self.config.seasonal:
            return torch.zeros(len(frames), dtype=torch.long, device=frames.device)
        first = self.config.output_channels
        sine, cosine = frames[:, 0, 0, first], frames[:, 0, 0, first + 1]
        turns = torch.atan2(sine, cosine) / (2 * torch.pi)
        return (turns * self.config.period).round().long() % self.config.period


register(LinearInverseModel, LinearInverseModelConfig)


# ------------------------------------------------------------------ linear algebra


def _ridge(state: torch.Tensor, future: torch.Tensor, penalty: float) -> torch.Tensor:
    """Matrix G, (state, modes), that minimises ``|future - state G|^2 + penalty |G|^2``."""
    identity = torch.eye(state.shape[1], dtype=state.dtype, device=state.device)
    return torch.linalg.solve(state.T @ state + penalty * identity, state.T @ future)


def _noise_factor(
    state: torch.Tensor, future: torch.Tensor, operator: torch.Tensor, root_weight: torch.Tensor
) -> torch.Tensor:
    """Matrix B with ``B^T B = C - G^T S G``, the balance of fluctuation and dissipation.

    Sampling errors can make eigenvalues of the right side negative; they are set to zero and the others
    scaled to keep the trace (Penland and Matrosova 1994, J. Climate 7, 1352-1372).
    """
    total = root_weight.square().sum()
    carried = state @ operator
    balance = (future.T @ future - carried.T @ carried) / total
    values, vectors = torch.linalg.eigh(balance)
    kept = values.clamp(min=0)
    kept = kept * (values.sum() / kept.sum()).clamp(min=0) if kept.sum() > 0 else kept
    return kept.sqrt()[:, None] * vectors.T


def _fractional_power(matrix: torch.Tensor, exponent: float) -> torch.Tensor:
    """Real part of a matrix to a power, through its eigenvalues."""
    values, vectors = torch.linalg.eig(matrix)
    return (vectors @ torch.diag(values**exponent) @ torch.linalg.inv(vectors)).real


def _upright(patterns: torch.Tensor) -> torch.Tensor:
    """Patterns with their largest value positive, so that a fit is the same everywhere."""
    largest = patterns.abs().argmax(dim=1, keepdim=True)
    return patterns * patterns.gather(1, largest).sign()
