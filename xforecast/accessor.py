"""The accessor ``.earthformer`` on Dataset and DataArray: doors to the functions, holding nothing."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import xarray as xr

from xforecast._doors import FIT, FORECAST, door

if TYPE_CHECKING:
    from torch import nn

    from xforecast.forecaster import Forecaster
    from xforecast.labels import Report
    from xforecast.models import Config
    from xforecast.spec import DataSpec

__all__ = ["EarthformerAccessor", "Pictures"]


class Pictures:
    """The functions of `xforecast.plot`, with these data as their first argument.

    Examples
    --------
    >>> import xarray as xr, xforecast
    >>> "maps" in dir(xr.DataArray(0.0).earthformer.plot)
    True
    """

    def __init__(self, obj: xr.Dataset | xr.DataArray):
        self._obj: Any = obj
        _explain_pictures()

    def __dir__(self) -> list[str]:
        return list(PICTURES)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no picture {name!r}; there are {', '.join(PICTURES)}")

    def maps(
        self,
        leads: Sequence[Any] | None = None,
        *,
        observed: xr.DataArray | xr.Dataset | None = None,
        samples: int = 0,
        variable: str | None = None,
        title: str | None = None,
        coastlines: bool = True,
        figure=None,
    ):
        """Maps of a forecast at several leads."""
        from xforecast.plot import maps

        return maps(
            self._obj, leads, observed=observed, samples=samples, variable=variable, title=title,
            coastlines=coastlines, figure=figure,
        )  # fmt: skip

    def animate(
        self,
        file: str | os.PathLike | None = None,
        *,
        leads: Sequence[Any] | None = None,
        observed: xr.DataArray | xr.Dataset | None = None,
        samples: int = 0,
        variable: str | None = None,
        title: str | None = None,
        coastlines: bool = True,
        frames_per_second: int = 4,
    ):
        """A film of a forecast."""
        from xforecast.plot import animate

        return animate(
            self._obj, file, leads=leads, observed=observed, samples=samples, variable=variable, title=title,
            coastlines=coastlines, frames_per_second=frames_per_second,
        )  # fmt: skip

    def plume(
        self,
        observed: xr.DataArray | xr.Dataset | None = None,
        *,
        error: xr.DataArray | None = None,
        threshold: float | None = None,
        months: int = 24,
        ax=None,
    ):
        """An index as it was and as it is forecast."""
        from xforecast.plot import plume

        return plume(self._obj, observed, error=error, threshold=threshold, months=months, ax=ax)

    def season_by_lead(self, *, contour: float | None = 0.5, ax=None, title: str | None = None):
        """Skill by target season and lead."""
        from xforecast.plot import season_by_lead

        return season_by_lead(self._obj, contour=contour, ax=ax, title=title)

    def skill_by_lead(self, *, floor: float | None = 0.0, ax=None, title: str | None = None):
        """A score by lead."""
        from xforecast.plot import skill_by_lead

        return skill_by_lead(self._obj, floor=floor, ax=ax, title=title)

    def skill_by_threshold(self, *, ax=None, title: str | None = None):
        """A score by threshold."""
        from xforecast.plot import skill_by_threshold

        return skill_by_threshold(self._obj, ax=ax, title=title)

    def reliability_diagram(self, *, ax=None, title: str | None = None):
        """Forecast probabilities against observed frequencies."""
        from xforecast.plot import reliability_diagram

        return reliability_diagram(self._obj, ax=ax, title=title)

    def rank_diagram(self, *, ax=None, title: str | None = None):
        """How often the observation has each rank among the samples."""
        from xforecast.plot import rank_diagram

        return rank_diagram(self._obj, ax=ax, title=title)

    def roc_curve(self, *, ax=None, title: str | None = None):
        """Hits against false alarms."""
        from xforecast.plot import roc_curve

        return roc_curve(self._obj, ax=ax, title=title)


PICTURES = tuple(sorted(name for name in vars(Pictures) if not name.startswith("_")))

Pictures.rank_histogram = Pictures.rank_diagram  # type: ignore[attr-defined]  # its former name


@lru_cache(maxsize=1)
def _explain_pictures() -> None:
    """Give each method the docstring of the function that it calls; the functions are not imported before."""
    from xforecast import plot

    for name in PICTURES:
        getattr(Pictures, name).__doc__ = getattr(plot, name).__doc__


@xr.register_dataset_accessor("earthformer")
@xr.register_dataarray_accessor("earthformer")
class EarthformerAccessor:
    """Forecast from, check and train on these data.

    Printed, it says which forecasters the data fit, the newest start, and what to call next.

    Examples
    --------
    >>> import xarray as xr, xforecast
    >>> bool(xr.Dataset().earthformer.check("earthformer-enso"))
    False
    """

    def __init__(self, obj: xr.Dataset | xr.DataArray):
        self._obj = obj

    def __repr__(self) -> str:
        from xforecast.forecaster import overview

        return repr(overview(self._obj))

    def _repr_html_(self) -> str:
        from xforecast.forecaster import overview

        return overview(self._obj)._repr_html_()

    @door(FORECAST)
    def forecast(
        self,
        model: str | os.PathLike | Forecaster | None = None,
        *,
        init: object = None,
        samples: int | None = None,
        horizon: int | None = None,
        seed: int = 0,
        constraint: Any = None,
        sampler: str | None = None,
        steps: int | None = None,
        strength: float | None = None,
        eta: float | None = None,
        guidance: str | None = None,
        through_denoiser: bool | None = None,
        sampling: Mapping[str, Any] | None = None,
        variables: Mapping[str, Hashable] | None = None,
        base_period: tuple[str, str] | None = None,
        climatology: tuple[str, str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        progress: bool | None = None,
    ) -> xr.Dataset:
        """A labelled forecast from these data, as `xforecast.forecast` makes it.

        Parameters
        ----------
        {options}

        Returns
        -------
        xarray.Dataset
            The data's own variables and units, dims (init, sample, lead, y, x) with the data's own spatial dimensions,
            ``valid_time``, CF attributes and provenance.

        Raises
        ------
        SpecMismatch
            The data do not fit; the message lists every mismatch with its remedy.
        UnknownForecaster
            No forecaster of that name, or several or none fit.
        InvalidOption
            An option of a value that cannot work.
        """
        from xforecast.forecaster import forecast

        return forecast(
            self._obj, model, init=init, samples=samples, horizon=horizon, seed=seed, constraint=constraint,
            sampler=sampler, steps=steps, strength=strength, eta=eta, guidance=guidance,
            through_denoiser=through_denoiser, sampling=sampling, variables=variables, base_period=base_period,
            climatology=climatology, device=device, precision=precision, batch_size=batch_size, progress=progress,
        )  # fmt: skip

    @door(FORECAST)
    def check(
        self,
        model: str | os.PathLike | Forecaster | None = None,
        *,
        init: object = None,
        variables: Mapping[str, Hashable] | None = None,
        base_period: tuple[str, str] | None = None,
        climatology: tuple[str, str] | None = None,
    ) -> Report:
        """Compare these data with what a forecaster expects, as `xforecast.check` does.

        Parameters
        ----------
        {options}

        Returns
        -------
        Report
            Prints problems with their remedies, warnings and repairs; true when the data can be forecast.

        Raises
        ------
        UnknownForecaster
            No forecaster of that name; or, where none is named, several forecasters or none that the data are for.
        """
        from xforecast.forecaster import check

        return check(self._obj, model, init=init, variables=variables, base_period=base_period, climatology=climatology)

    @property
    def plot(self) -> Pictures:
        """Pictures, such as ``.plot.maps()`` of a forecast; see `xforecast.plot`."""
        return Pictures(self._obj)

    @door(FIT)
    def fit(
        self,
        model: str | os.PathLike | Config | nn.Module | Forecaster = "Earthformer",
        *,
        history: int | None = None,
        horizon: int | None = None,
        variables: Sequence[str] | None = None,
        targets: Sequence[str] | None = None,
        base_period: tuple[str, str] | None = None,
        base: tuple[str, str] | None = None,
        calendar: Sequence[str] = (),
        transform: str | tuple[str, float] | Mapping[str, str | tuple[str, float]] | None = None,
        spec: DataSpec | None = None,
        valid: float | slice | xr.Dataset | xr.DataArray | None = 0.15,
        in_memory: bool | None = None,
        members: int | None = None,
        stages: Mapping[str, Mapping[str, Any] | None] | None = None,
        area_weights: bool = True,
        name: str | None = None,
        folder: str | os.PathLike | None = None,
        resume: bool = False,
        device: str = "auto",
        progress: bool | None = None,
        epochs: int = 50,
        steps: int | None = None,
        batch_size: int = 32,
        accumulate: int = 1,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-5,
        warmup: float = 0.2,
        final_learning_rate: float = 1e-3,
        gradient_clip: float = 1.0,
        patience: int | None = None,
        average: float | str | None = "auto",
        precision: str = "float32",
        activation_checkpointing: bool = False,
        devices: int = 1,
        strategy: str = "auto",
        seed: int = 0,
    ) -> Forecaster:
        """A forecaster trained on these data, as `xforecast.fit` trains it.

        Parameters
        ----------
        {options}

        Returns
        -------
        Forecaster
            Save it with ``forecaster.save(folder)``.

        Raises
        ------
        InvalidOption
            An option that cannot work.
        TrainingError
            Nothing to train on, a loss that is not finite, or a checkpoint that cannot be written.
        CheckpointError
            The folder to resume from has checkpoints of another training.
        """
        from xforecast.training import fit

        return fit(
            self._obj, model,
            history=history, horizon=horizon, variables=variables, targets=targets, base_period=base_period,
            base=base, calendar=calendar, transform=transform, spec=spec, valid=valid, in_memory=in_memory,
            members=members, stages=stages, area_weights=area_weights, name=name, folder=folder, resume=resume,
            device=device, progress=progress, epochs=epochs, steps=steps, batch_size=batch_size,
            accumulate=accumulate, learning_rate=learning_rate, weight_decay=weight_decay, warmup=warmup,
            final_learning_rate=final_learning_rate, gradient_clip=gradient_clip, patience=patience,
            average=average, precision=precision, activation_checkpointing=activation_checkpointing,
            devices=devices, strategy=strategy, seed=seed,
        )  # fmt: skip
