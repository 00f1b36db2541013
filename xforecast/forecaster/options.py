"""The options of a forecast, checked once."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from xforecast._doors import one_of_two_names
from xforecast.errors import InvalidOption, did_you_mean
from xforecast.forecaster.devices import pick_device, pick_precision
from xforecast.models import SamplingOptions

if TYPE_CHECKING:
    from xforecast.forecaster.predictor import Predictor

__all__ = ["ForecastOptions"]

OF_SAMPLES = ("constraint", "sampler", "steps", "strength", "eta", "guidance", "through_denoiser")
"""Options that only models with such a way of sampling take."""


@dataclass(frozen=True, kw_only=True)
class ForecastOptions:
    """Every option of a forecast, as `xforecast.forecast` explains them.

    Parameters
    ----------
    init, samples, horizon, seed
        Which forecasts to make, and how many samples of how many steps.
    constraint, sampler, steps, strength, eta, guidance, through_denoiser
        How a model that draws samples by diffusion draws them.
    sampling : mapping, optional
        Options of the model's own `sample` by name, for models whose options are others than these.
    variables, base_period, climatology
        How the data are read.
    device, precision, batch_size, progress
        How the forecasts are computed.

    Attributes
    ----------
    drawing : SamplingOptions or None
        The model's own options of sampling, each with its value; set by :meth:`of`.

    Examples
    --------
    >>> ForecastOptions(samples=3).seed
    0
    >>> ForecastOptions(seed="today")
    Traceback (most recent call last):
    ...
    xforecast.errors.InvalidOption: seed: found 'today', wanted a whole number of at most 64 bits
      -> seed=0
    """

    init: object = None
    samples: int | None = None
    horizon: int | None = None
    seed: int = 0
    constraint: Any = None
    sampler: str | None = None
    steps: int | None = None
    strength: float | None = None
    eta: float | None = None
    guidance: str | None = None
    through_denoiser: bool | None = None
    sampling: Mapping[str, Any] | None = None
    variables: Mapping[str, Hashable] | None = None
    base_period: tuple[str, str] | None = None
    climatology: tuple[str, str] | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | str = "auto"
    progress: bool | None = None
    drawing: SamplingOptions | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        pick_precision(self.precision, pick_device(self.device))
        if self.batch_size != "auto":
            positive("batch_size", self.batch_size, "batch_size='auto'")
        if not _is_whole(self.seed) or not -(2**63) <= self.seed < 2**63:
            raise InvalidOption("seed", self.seed, "a whole number of at most 64 bits", "seed=0")
        period = one_of_two_names("climatology", self.climatology, "base_period", self.base_period)
        object.__setattr__(self, "base_period", period)
        object.__setattr__(self, "climatology", None)

    @classmethod
    def of(cls, predictor: Predictor, **options: Any) -> Self:
        """The options as they are for one model: what was left open is decided, what cannot work is refused.

        Parameters
        ----------
        predictor : Predictor
            The model with its spec.
        **options
            Fields of this class.

        Raises
        ------
        InvalidOption
            An option of a value that cannot work with the model.
        """
        asked = cls(**options)
        return asked._with(
            samples=predictor.count(asked.samples),
            horizon=_horizon(asked.horizon, predictor.spec),
            drawing=asked._drawing(predictor),
        )

    def _drawing(self, predictor: Predictor) -> SamplingOptions | None:
        kind, given = predictor.abilities.sampling, self._given()
        names = () if kind is None else kind.names()
        for option, value in given.items():
            if option not in names:
                raise _unknown(option, value, names, predictor.name)
        if kind is None:
            return None
        drawing = kind(**given)
        drawing.check(predictor.model)
        return drawing

    def _given(self) -> dict[str, Any]:
        """Options of sampling that are not left open."""
        if not isinstance(self.sampling or {}, Mapping):
            raise InvalidOption("sampling", self.sampling, "a mapping of options by name", "leave sampling= out")
        if both := sorted(set(self.sampling or {}) & set(OF_SAMPLES)):
            wanted = "options that a model of one's own has beside those of every forecast"
            raise InvalidOption("sampling", both, wanted, f"pass {both[0]}= itself")
        given = {**(self.sampling or {}), **{name: getattr(self, name) for name in OF_SAMPLES}}
        return {name: value for name, value in given.items() if value is not None}

    def for_workers(self) -> Self:
        """The options without what is done before the network runs, and without a bar that nobody sees."""
        return self._with(init=None, variables=None, base_period=None, progress=False)

    def with_constraint(self, constraint: Any) -> Self:
        """The options with another constraint in place of the one that there was."""
        assert self.drawing is not None
        drawing = replace(self.drawing, constraint=constraint)  # type: ignore[call-arg]
        return self._with(constraint=constraint, drawing=drawing)

    def _with(self, **changes: Any) -> Self:
        """The options with other values that need no check."""
        made = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(made, name, value)
        return made

    def to_dict(self) -> dict[str, Any]:
        """Fields by name, but for what was decided for one model."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.init}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def positive(option: str, value: Any, remedy: str = "") -> int:
    """A whole number of at least 1, or an error."""
    if not _is_whole(value) or value < 1:
        raise InvalidOption(option, value, "a whole number, 1 or more", remedy or f"{option}=1")
    return int(value)


def _horizon(horizon: int | None, spec: Any) -> int:
    if horizon is None:
        return spec.horizon
    steps = positive("horizon", horizon)
    if steps > spec.horizon:
        raise InvalidOption(
            "horizon",
            steps,
            f"at most {spec.horizon} steps of {spec.time_step}, as trained",
            "train a forecaster for a longer horizon with xforecast.fit(ds, model, horizon=...)",
        )
    return steps


def _unknown(option: str, value: Any, names: tuple[str, ...], model: str) -> InvalidOption:
    if option in OF_SAMPLES:
        wanted = f"nothing: {model} does not sample by diffusion"
        return InvalidOption(option, value, wanted, f"leave {option}= out")
    remedy = did_you_mean(option, names, f"leave {option!r} out of sampling=")
    wanted = f"an option among {', '.join(names)}" if names else f"nothing: {model} has no options of sampling"
    return InvalidOption(option, value, wanted, remedy)
