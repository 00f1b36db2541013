"""A trained model together with its data contract: arrays in and out, Datasets in and out, files."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from xforecast._doors import FORECAST, door, unknown_option
from xforecast._version import __version__
from xforecast.forecaster.folder import read, write
from xforecast.forecaster.lazy import lazily
from xforecast.forecaster.options import OF_SAMPLES, ForecastOptions
from xforecast.forecaster.predictor import Predictor
from xforecast.labels import Conformed, Report, check_values, conform, region_weights, windows
from xforecast.models import constraints, contract, count_parameters
from xforecast.models.blocks import Tiles
from xforecast.spec import DataSpec

__all__ = ["Forecaster"]

CONVENTIONS = "CF-1.11"
STATED = ("constraint", "sampler", "steps")
"""Options of sampling that the attributes of a forecast state."""
OF_ARRAYS = (*OF_SAMPLES, "horizon", "sampling", "device", "precision", "batch_size")
"""Options of a forecast that mean something for arrays."""
LONGEST_NOTE = 200
"""Letters of an option in the attributes of a forecast."""


class Forecaster:
    """A model that knows what data it takes.

    Parameters
    ----------
    model : torch.nn.Module
        Any model of the contract in `xforecast.models.contract`: (batch, history, height, width,
        channel) in, (batch, horizon, height, width, channel) out, both normalised.
    spec : DataSpec
        The data that it was trained on.
    card : mapping, optional
        What a reader should know: name, title, licence, period, scores ...

    Examples
    --------
    >>> import numpy as np
    >>> from xforecast.models import Persistence, PersistenceConfig
    >>> from xforecast.spec import DataSpec, Grid, Variable
    >>> spec = DataSpec([Variable("sst", "degC")], Grid("pixel", (3, 4)), "1 month", history=2, horizon=3)
    >>> persistence = Forecaster(Persistence(PersistenceConfig(horizon=3)), spec)
    >>> persistence.predict(np.ones((1, 2, 3, 4, 1))).shape
    (1, 1, 3, 3, 4, 1)
    """

    def __init__(self, model: torch.nn.Module, spec: DataSpec, card: Mapping[str, Any] | None = None):
        self.predictor = Predictor(model, spec, card)

    @property
    def model(self) -> torch.nn.Module:
        """The model."""
        return self.predictor.model

    @model.setter
    def model(self, model: torch.nn.Module) -> None:
        self.predictor = Predictor(model, self.spec, self.card)

    @property
    def spec(self) -> DataSpec:
        """The data that the model takes."""
        return self.predictor.spec

    @spec.setter
    def spec(self, spec: DataSpec) -> None:
        self.predictor = Predictor(self.model, spec, self.card)

    @property
    def card(self) -> dict[str, Any]:
        """What a reader should know."""
        return self.predictor.card

    @card.setter
    def card(self, card: Mapping[str, Any]) -> None:
        self.predictor.card = dict(card)

    @property
    def name(self) -> str:
        """Its name, or the class of its model."""
        return self.predictor.name

    @property
    def digest(self) -> str:
        """SHA-256 of weights, architecture and spec; provenance, and the key of caches."""
        return self.predictor.digest

    @property
    def folder(self) -> str | None:
        """Where it is saved, if it was loaded from there."""
        return self.predictor.folder

    @folder.setter
    def folder(self, folder: str | None) -> None:
        self.predictor.folder = folder

    @property
    def default_samples(self) -> int:
        """Samples that a forecast has when their number is left open."""
        return self.predictor.default_samples

    @property
    def deterministic(self) -> bool:
        """Whether the model gives one answer only."""
        return self.predictor.abilities.samples == 1

    @property
    def hindcast_error(self) -> xr.DataArray | None:
        """Root-mean-square error of past forecasts of an index by lead, if the card has it."""
        errors = self.card.get("hindcast_error")
        if not errors:
            return None
        leads = [int(lead) for lead in errors]
        attrs = {"units": self.spec.target_variables[0].units, "long_name": "RMSE"}
        note = {"comment": self.card["hindcast_note"]} if "hindcast_note" in self.card else {}
        return xr.DataArray(list(errors.values()), [("lead", leads, {"units": "months"})], attrs=attrs | note)

    # -------------------------------------------------------------- labels in, labels out

    @door(FORECAST)
    def forecast(
        self,
        ds: xr.Dataset | xr.DataArray,
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
        """A labelled forecast from labelled data.

        Parameters
        ----------
        {options}

        Returns
        -------
        xarray.Dataset
            As `xforecast.forecast` gives it.

        Raises
        ------
        SpecMismatch
            The data do not fit; the message lists every mismatch with its remedy.
        InvalidOption
            An option of a value that cannot work.
        """
        asked = ForecastOptions.of(
            self.predictor, init=init, samples=samples, horizon=horizon, seed=seed, constraint=constraint,
            sampler=sampler, steps=steps, strength=strength, eta=eta, guidance=guidance,
            through_denoiser=through_denoiser, sampling=sampling, variables=variables, base_period=base_period,
            climatology=climatology, device=device, precision=precision, batch_size=batch_size, progress=progress,
        )  # fmt: skip
        ready = self._conformed(ds, asked)  # the data as the spec wants them, with the way back
        histories = self._examined(windows(ready, self.spec), ready)  # (init, history, y, x, channel), lazy where ds is
        fields, residual = lazily(self.predictor, histories, ready, _with_cells(asked, ready))
        return self._with_provenance(ready.label(fields, residual), ds, asked)

    @door(FORECAST)
    def check(
        self,
        ds: xr.Dataset | xr.DataArray,
        *,
        init: object = None,
        variables: Mapping[str, Hashable] | None = None,
        base_period: tuple[str, str] | None = None,
        climatology: tuple[str, str] | None = None,
    ) -> Report:
        """What `forecast` would repair, warn of or refuse; computes the newest history of lazy data.

        Parameters
        ----------
        {options}

        Returns
        -------
        Report
            Prints problems with their remedies, warnings and repairs; true when the data can be forecast.
        """
        asked = ForecastOptions(init=init, variables=variables, base_period=base_period, climatology=climatology)
        ready = self.conform(ds, asked)
        if isinstance(ready, Report):
            return ready
        newest = windows(ready, self.spec).isel(init=slice(-1, None))
        ready.report.extend(check_values(newest.values, self.spec, ready.source.anomalies))
        return ready.report

    def _conformed(self, ds: xr.Dataset | xr.DataArray, asked: ForecastOptions) -> Conformed:
        ready = self.conform(ds, asked)
        if isinstance(ready, Report):
            ready.raise_errors()
            raise AssertionError("a report without errors must come with data")
        return ready

    def conform(self, ds: xr.Dataset | xr.DataArray, asked: ForecastOptions | None = None) -> Conformed | Report:
        """The data as the spec wants them, or the report that says why they do not fit; no values are read."""
        asked = asked or ForecastOptions()
        ready = conform(
            ds, self.spec, init=asked.init, variables=asked.variables, climatology=asked.base_period,
            against=self.name, larger=True,
        )  # fmt: skip
        if isinstance(ready, Report):
            return ready
        self._report_windows((ready.dataset.sizes["y"], ready.dataset.sizes["x"]), ready.report)
        return ready if ready.report.ok else ready.report

    def _report_windows(self, field: tuple[int, int], report: Report) -> None:
        """What becomes of a field that is larger than the window that the model was trained on."""
        window = self.spec.grid.shape
        if field == window:
            return
        found = f"{field[0]} x {field[1]} cells, window of the model {window[0]} x {window[1]}"
        if self.predictor.abilities.any_grid:
            report.repair("grid", f"{found}: forecast as one field")
        elif self.predictor.takes_windows:
            report.repair(
                "grid", f"{found}: forecast in {len(Tiles(field, window))} overlapping windows, joined smoothly"
            )
        else:
            wanted = "wanted the window: what the model gives for one does not fit that for the next"
            report.error("grid", f"{found}, {wanted}", f"a window of {window[0]} x {window[1]} cells")

    def _examined(self, histories: xr.DataArray, ready: Conformed) -> xr.DataArray:
        """The histories, after a look at their values where they are at hand; lazy ones are looked at later."""
        if histories.chunks is None:
            ready.report.extend(check_values(histories.values, self.spec, ready.source.anomalies))
            ready.report.raise_errors()
        ready.report.emit_warnings()
        return histories

    def _with_provenance(self, forecast: xr.Dataset, ds, asked: ForecastOptions) -> xr.Dataset:
        now = np.datetime_as_string(np.datetime64("now"), unit="s")
        call = f"{now}Z: xforecast {__version__} forecast(model={self.name!r}, seed={asked.seed})"
        history = "\n".join(filter(None, [call, str(ds.attrs.get("history", ""))]))
        drawn = {} if asked.drawing is None else asked.drawing.to_dict()
        stated = {name: drawn[name] for name in STATED if drawn.get(name)}
        if asked.base_period:
            stated["climatology"] = "-".join(map(str, asked.base_period))
        addresses = re.compile(r" at 0x[0-9a-f]+")  # of functions, which mean nothing elsewhere
        sampling = {name: addresses.sub("", str(value))[:LONGEST_NOTE] for name, value in stated.items()}
        return forecast.assign_attrs(
            Conventions=CONVENTIONS,
            source=f"{self.card.get('title', self.name)}, forecast by xforecast {__version__}",
            history=history,
            xforecast_model=self.name,
            xforecast_weights_sha256=self.digest,
            xforecast_version=__version__,
            torch_version=torch.__version__,
            xforecast_seed=int(asked.seed),
            xforecast_precision=str(asked.precision),
            **{f"xforecast_{name}": value for name, value in sampling.items()},
            **({"references": self.card["references"]} if "references" in self.card else {}),
        )

    # -------------------------------------------------------------- arrays in, arrays out

    def predict(
        self, x: np.ndarray, samples: int | Sequence[int] | np.ndarray | None = None, seed: int = 0, **options: Any
    ) -> np.ndarray:
        """Forecast arrays.

        Parameters
        ----------
        x, samples, seed, **options
            As in `predict_with_residual`.

        Returns
        -------
        numpy.ndarray
            Shape (init, sample, lead, y, x, channel), float32, in the spec's units; NaN where the
            history of that variable never has a value and where the training data had none.
        """
        return self.predict_with_residual(x, samples, seed, **options)[0]

    def predict_with_residual(
        self,
        x: np.ndarray,
        samples: int | Sequence[int] | np.ndarray | None = None,
        seed: int = 0,
        *,
        starts: np.ndarray | None = None,
        keys: np.ndarray | None = None,
        progress: bool | None = False,
        **options: Any,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Forecast arrays, and say how far the samples are from a constraint.

        Parameters
        ----------
        x : numpy.ndarray
            Shape (init, history, y, x, channel), in the spec's units and quantities, missing values
            as NaN; calendar channels last. Where the spec's grid is any window, y and x may be larger.
        samples : int or sequence of int, optional
            How many samples, or the numbers of those to draw.
        seed : int
            Seed of the random numbers; sample k of a start depends on the seed, the start and k alone.
        starts : numpy.ndarray of int, optional
            Identity of each start for the random numbers; its place in the batch by default.
        keys : numpy.ndarray of int, optional
            The former name of ``starts``.
        progress : bool, optional
            As in `xforecast.forecast`.
        **options
            Options of `xforecast.forecast` on sampling and computing; a ``constraint`` is on fields in the spec's
            units.

        Returns
        -------
        numpy.ndarray
            Shape (init, sample, lead, y, x, channel), float32, in the spec's units; NaN where the
            history of that variable never has a value and where the training data had none.
        numpy.ndarray or None
            The norm of the constraint's residual, shape (init, sample, 2): without and with guidance.
        """
        x = np.asarray(x)
        self.predictor.check_shape(x)
        drawn = self.predictor.which(samples)
        for option, value in options.items():
            if option not in OF_ARRAYS:
                raise unknown_option(option, value, ["seed", "starts", "progress", *OF_ARRAYS])
        asked = ForecastOptions.of(self.predictor, seed=seed, progress=progress, **options)
        starts = keys if starts is None else starts
        identity = np.arange(len(x)) if starts is None else np.asarray(starts, np.int64)
        return self.predictor.predict(x, drawn, identity, asked)

    # -------------------------------------------------------------- files

    def save(self, folder: str | os.PathLike, *, half: bool = False) -> Path:
        """Write weights, architecture, spec and card to a folder.

        Parameters
        ----------
        folder : path
            Made if needed. A forecaster that is already there is replaced, in one step at the end.
        half : bool, default False
            Store the weights in float16, half the size.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        CheckpointError
            The folder holds something else, or the model is of no registered class.
        """
        return write(folder, self.model, self.spec, self.card, half=half)

    def folder_for_workers(self) -> str:
        """Where another process finds this forecaster; one that was never saved is saved in the cache."""
        return self.predictor.folder_for_workers()

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Forecaster:
        """Read what `save` wrote; strict about every key, and the digest of the weights is checked."""
        forecaster = cls(*read(folder))
        forecaster.folder = str(Path(folder).resolve())
        return forecaster

    # -------------------------------------------------------------- for people

    def _rows(self) -> list[tuple[str, str]]:
        config = contract.config_of(self.model)
        made_of = f" of {config.summary}" if config is not None and config.summary else ""
        model = f"{type(self.model).__name__}{made_of}"
        rows = [("model", f"{model}, {count_parameters(self.model):,} parameters")]
        rows += [(key, str(self.card[key])) for key in ("title", "period", "licence") if key in self.card]
        return rows

    def __repr__(self) -> str:
        rows = "\n".join(f"  {title:<10} {text}" for title, text in self._rows())
        return f"Forecaster {self.name!r}\n{rows}\n{repr(self.spec).partition(chr(10))[2]}"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(title)}</th><td style='text-align:left'>{escape(text)}</td></tr>"
            for title, text in self._rows()
        )
        return f"<div><b>Forecaster {escape(self.name)}</b><table>{cells}</table>{self.spec._repr_html_()}</div>"


def _with_cells(asked: ForecastOptions, ready: Conformed) -> ForecastOptions:
    """Options whose constraint has arrays of the model's cells in place of regions by labels."""
    if asked.constraint is None:
        return asked
    constraint = constraints.as_constraint(asked.constraint)
    return asked.with_constraint(constraint.with_regions(lambda value, name: region_weights(value, ready.source, name)))
