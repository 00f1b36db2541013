"""A trained model together with its data contract: arrays in and out, Datasets in and out, files."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as safetensors

from xforecast._version import __version__
from xforecast.errors import CheckpointError, InvalidOption, XForecastWarning
from xforecast.forecaster import lazy as parallel
from xforecast.forecaster.progress import track
from xforecast.labels import Conformed, Report, check_values, conform, label, placed, windows, with_residual
from xforecast.models import MODELS, build, describe
from xforecast.models.blocks.tiling import Tiles, tiled
from xforecast.models.contract import draws_samples, load_strictly
from xforecast.models.prediff.guidance import InPhysicalUnits, check_constraint
from xforecast.spec import DataSpec, normalise, restore

__all__ = ["Forecaster"]

FORMAT = 1
CONFIG_FILE = "forecaster.json"
WEIGHTS_FILE = "weights.safetensors"
CONVENTIONS = "CF-1.11"
DIFFUSION_OPTIONS = ("constraint", "sampler", "steps")
LONGEST_NOTE = 200
"""Letters of an option in the attributes of a forecast."""
FAR = 0.5
"""Share of the residual without guidance that may be left with it before a forecast warns."""
NEAR = 0.1
"""Distance from a target, as a share of it, that never warns."""
VALUES_PER_BATCH = {"cpu": 2**20, "cuda": 2**24}
"""Output values of one forward pass when the batch size is chosen automatically."""


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
        self.model = model.eval()
        self.spec = spec
        self.card = dict(card or {})
        self.folder: str | None = None
        self._copies: dict[str, torch.nn.Module] = {}

    # -------------------------------------------------------------- identity

    @property
    def name(self) -> str:
        """Its name, or the class of its model."""
        return str(self.card.get("name") or type(self.model).__name__)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of weights, architecture and spec; provenance, and the key of caches."""
        summary = hashlib.sha256(json.dumps([_identity(self.model), self.spec.to_dict()], sort_keys=True).encode())
        for key, value in sorted(self.model.state_dict().items()):
            summary.update(key.encode())
            summary.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return summary.hexdigest()

    @property
    def default_samples(self) -> int:
        """Samples that a forecast has when their number is left open."""
        return int(getattr(self.model, "size", 1))

    @property
    def deterministic(self) -> bool:
        """Whether the model gives one answer only."""
        return not draws_samples(self.model)

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

    def forecast(
        self,
        ds: xr.Dataset | xr.DataArray,
        *,
        init: object = None,
        samples: int | None = None,
        horizon: int | None = None,
        seed: int = 0,
        variables: Mapping[str, Hashable] | None = None,
        climatology: tuple[str, str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        progress: bool | None = None,
        **sampling: Any,
    ) -> xr.Dataset:
        """A labelled forecast from labelled data; see `xforecast.forecast` for the options."""
        count = self._sample_count(samples)
        options = {
            "seed": seed,
            "horizon": self._horizon(horizon),
            "device": device,
            "precision": precision,
            "batch_size": batch_size,
            **{key: value for key, value in sampling.items() if value is not None},
        }
        self._check_options(options, sampling)
        ready = self._conform(ds, init, variables, climatology)
        if isinstance(ready, Report):
            ready.raise_errors()
            raise AssertionError("a report without errors must come with data")
        histories = windows(ready, self.spec)
        if histories.chunks is None:
            ready.report.extend(check_values(histories.values, self.spec, ready.source.anomalies))
            ready.report.raise_errors()
            options["progress"] = progress
        ready.report.emit_warnings()
        if options.get("constraint") is not None:
            options["constraint"] = placed(options["constraint"], ready.source)
        values, residual = parallel.lazily(
            self, histories, ready.starts.init, range(count), options, ready.source.anomalies
        )
        options = {**options, "climatology": climatology and "-".join(map(str, climatology))}
        forecast = label(values, ready, self.spec)
        if residual is not None:
            forecast = with_residual(forecast, residual, ready.starts)
        return self._with_provenance(forecast, ds, options)

    def check(
        self,
        ds: xr.Dataset | xr.DataArray,
        *,
        init: object = None,
        variables: Mapping[str, Hashable] | None = None,
        climatology: tuple[str, str] | None = None,
    ) -> Report:
        """What `forecast` would repair, warn of or refuse; computes the newest history of lazy data."""
        ready = self._conform(ds, init, variables, climatology)
        if isinstance(ready, Report):
            return ready
        histories = windows(ready, self.spec).isel(init=slice(-1, None))
        ready.report.extend(check_values(histories.values, self.spec, ready.source.anomalies))
        return ready.report

    def _conform(self, ds, init, variables, climatology) -> Conformed | Report:
        options = {"init": init, "variables": variables, "climatology": climatology}
        ready = conform(ds, self.spec, **options, against=self.name, larger=True)
        if isinstance(ready, Report):
            return ready
        self._tell_windows((ready.dataset.sizes["y"], ready.dataset.sizes["x"]), ready.report)
        return ready if ready.report.ok else ready.report

    def _tell_windows(self, field: tuple[int, int], report: Report) -> None:
        """What becomes of a field that is larger than the window that the model was trained on."""
        window = self.spec.grid.shape
        if field == window:
            return
        found = f"{field[0]} x {field[1]} cells, window of the model {window[0]} x {window[1]}"
        if getattr(self.model, "any_grid", False):
            report.repair("grid", f"{found}: forecast as one field")
        elif self._in_windows:
            report.repair(
                "grid", f"{found}: forecast in {len(Tiles(field, window))} overlapping windows, joined smoothly"
            )
        else:
            wanted = "wanted the window: what the model gives for one does not fit that for the next"
            report.error("grid", f"{found}, {wanted}", f"a window of {window[0]} x {window[1]} cells")

    @property
    def _in_windows(self) -> bool:
        """Whether the model can do the windows of a larger field one by one: it draws no noise, and knows no places."""
        by_place = hasattr(self.model, "fit_series")  # each cell has numbers of its own
        return not by_place and (self.deterministic or hasattr(self.model, "size"))

    def _with_provenance(self, forecast: xr.Dataset, ds, options: Mapping[str, Any]) -> xr.Dataset:
        now = np.datetime_as_string(np.datetime64("now"), unit="s")
        call = f"{now}Z: xforecast {__version__} forecast(model={self.name!r}, seed={options['seed']})"
        history = "\n".join(filter(None, [call, str(ds.attrs.get("history", ""))]))
        own = getattr(self.model, "default_sampling", {})
        stated = {**own, **{key: options[key] for key in (*DIFFUSION_OPTIONS, "climatology") if options.get(key)}}
        addresses = re.compile(r" at 0x[0-9a-f]+")  # of functions, which mean nothing elsewhere
        sampling = {key: addresses.sub("", str(value))[:LONGEST_NOTE] for key, value in stated.items()}
        return forecast.assign_attrs(
            Conventions=CONVENTIONS,
            source=f"{self.card.get('title', self.name)}, forecast by xforecast {__version__}",
            history=history,
            xforecast_model=self.name,
            xforecast_weights_sha256=self.digest,
            xforecast_version=__version__,
            torch_version=torch.__version__,
            xforecast_seed=int(options["seed"]),
            xforecast_precision=str(options["precision"]),
            **{f"xforecast_{key}": value for key, value in sampling.items()},
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
        keys: np.ndarray | None = None,
        horizon: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        progress: bool | None = False,
        **sampling: Any,
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
            Of the random numbers; sample k of a start depends on the seed, the start and k alone.
        keys : numpy.ndarray of int, optional
            Identity of each start for the random numbers; its place in the batch by default.
        horizon : int, optional
            Number of steps to give, at most the spec's.
        device, precision, batch_size, progress
            As in `xforecast.forecast`.
        **sampling
            Passed to the model's ``sample``; a ``constraint`` is on fields in the spec's units.

        Returns
        -------
        numpy.ndarray
            Shape (init, sample, lead, y, x, channel), float32, in the spec's units; NaN where the
            history of that variable never has a value and where the training data had none.
        numpy.ndarray or None
            The norm of the constraint's residual, shape (init, sample, 2): without and with guidance.
        """
        x = np.asarray(x)
        self._check_shape(x)
        numbers = self._sample_numbers(samples)
        keys = np.arange(len(x)) if keys is None else np.asarray(keys, np.int64)
        network_in = torch.from_numpy(normalise(x, self.spec))
        self._check_sampling(sampling)
        constraint = sampling.get("constraint")
        if constraint is not None:
            sampling["constraint"] = InPhysicalUnits(constraint, self.spec.to_physical)
        model = self._on(parallel.pick_device(device))
        runs = _Runs(model, self.spec.grid.shape, network_in, numbers, keys, seed, precision, sampling)
        size = (
            self._batch_size(batch_size, runs.device) if batch_size == "auto" else _positive("batch_size", batch_size)
        )
        if constraint is not None:
            history = network_in[runs.rows[:size]].to(runs.device)
            frames = (self.spec.horizon, *x.shape[2:4], len(self.spec.targets))
            check_constraint(sampling["constraint"], history, frames)
        found = runs.all(size, progress, self.name).numpy()
        found = found.reshape(len(x), -1, *found.shape[1:])[:, :, : self._horizon(horizon)]
        values = restore(found, x, self.spec)
        if constraint is None:
            return values, None
        residual = runs.residual.reshape(len(x), -1, 2)
        self._tell_unreachable(residual, getattr(constraint, "target", None))
        return values, residual

    def _check_shape(self, x: np.ndarray) -> None:
        history, *window, channels = self.spec.input_shape
        if x.ndim == 5 and x.shape[1:] == self.spec.input_shape:
            return
        fits = x.ndim == 5 and (x.shape[1], x.shape[4]) == (history, channels)
        larger = fits and x.shape[2] >= window[0] and x.shape[3] >= window[1] and self.spec.any_window
        if not larger or not (self._in_windows or getattr(self.model, "any_grid", False)):
            raise InvalidOption("x", x.shape, f"shape (init, {', '.join(map(str, self.spec.input_shape))})")

    def _check_sampling(self, sampling: Mapping[str, Any]) -> None:
        """Options of the model's own, before anything is computed."""
        check = getattr(self.model, "check_sampling", None)
        if check is not None:
            check(**{key: value for key, value in sampling.items() if value is not None})

    def _tell_unreachable(self, residual: np.ndarray, target: Any) -> None:
        """Warn where guidance leaves most of the residual that there was without it."""
        before, after = residual[..., 0], residual[..., 1]
        if not np.isfinite(before).all():
            raise InvalidOption("constraint", "a residual that is not finite", "finite numbers for every field")
        if not np.isfinite(after).all():
            found = f"samples without bounds on the way to it, from a residual of {before.mean():.3g} without guidance"
            raise InvalidOption("constraint", found, "a target within reach", "a nearer target, or less strength")
        numbers = np.atleast_1d(np.asarray(target, float)) if isinstance(target, float | int) else np.zeros(1)
        far = (after > FAR * before) & (after > NEAR * np.abs(numbers).max()) & (after > 0)
        if far.any():
            worst = np.unravel_index(np.argmax(np.where(far, after, 0)), after.shape)
            warnings.warn(
                f"constraint: {far.sum()} of {far.size} samples do not reach it; the farthest has a residual of "
                f"{after[worst]:.3g}, and {before[worst]:.3g} without guidance -> see constraint_residual; "
                + (
                    "they are farther than without, do not use them; the target is out of reach or steps are too few"
                    if after[worst] > before[worst]
                    else "the target may be out of reach, or ask for more steps or strength"
                ),
                XForecastWarning,
                stacklevel=2,
            )

    def _on(self, device: torch.device) -> torch.nn.Module:
        if device.type == "cpu":
            return self.model
        if str(device) not in self._copies:
            import copy

            self._copies[str(device)] = copy.deepcopy(self.model).to(device)
        return self._copies[str(device)]

    def _sample_count(self, samples) -> int:
        if samples is None:
            return self.default_samples
        count = _positive("samples", samples)
        limit = 1 if self.deterministic else getattr(self.model, "size", None)
        if limit is not None and count > limit:
            kind = "is deterministic and gives 1" if limit == 1 else f"has {limit} members, which are its samples"
            raise InvalidOption("samples", count, f"at most {limit}: {self.name} {kind}", f"samples={limit}")
        return count

    def _sample_numbers(self, samples) -> np.ndarray:
        """The numbers of the samples to draw, from how many or which."""
        if samples is None or np.ndim(samples) == 0:
            return np.arange(self._sample_count(samples))
        numbers = np.asarray(samples)
        if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iu" or numbers.min() < 0:
            raise InvalidOption("samples", samples, "how many, or a list of numbers from 0")
        self._sample_count(int(numbers.max()) + 1)
        return numbers.astype(np.int64)

    def _horizon(self, horizon: int | None) -> int:
        if horizon is None:
            return self.spec.horizon
        steps = _positive("horizon", horizon)
        if steps > self.spec.horizon:
            raise InvalidOption(
                "horizon",
                steps,
                f"at most {self.spec.horizon} steps of {self.spec.time_step}, as trained",
                "train a forecaster for a longer horizon with xforecast.fit(ds, model, horizon=...)",
            )
        return steps

    def _check_options(self, options: Mapping[str, Any], sampling: Mapping[str, Any]) -> None:
        parallel.pick_precision(options["precision"], parallel.pick_device(options["device"]))
        if options["batch_size"] != "auto":
            _positive("batch_size", options["batch_size"])
        seed = options["seed"]
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not -(2**63) <= seed < 2**63:
            raise InvalidOption("seed", seed, "a whole number of at most 64 bits")
        accepted = getattr(self.model, "sampling_options", ())
        for option, value in sampling.items():
            if option not in (*DIFFUSION_OPTIONS, *accepted):
                known = [*inspect.signature(self.forecast).parameters][1:-1]
                known = list(dict.fromkeys([*known, *DIFFUSION_OPTIONS, *accepted]))
                close = difflib.get_close_matches(option, known, 1)
                remedy = f"did you mean {close[0]!r}?" if close else f"leave {option}= out"
                raise InvalidOption(option, value, f"an option among {', '.join(known)}", remedy)
            if value is not None and option not in accepted:
                wanted = f"nothing: {self.name} does not sample by diffusion"
                raise InvalidOption(option, value, wanted, f"leave {option}= out")
        self._check_sampling({key: value for key, value in sampling.items() if key in accepted})

    def _batch_size(self, batch_size, device: torch.device) -> int:
        values = int(np.prod(self.spec.target_shape))
        return max(1, VALUES_PER_BATCH.get(device.type, VALUES_PER_BATCH["cpu"]) // values)

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
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(f"{folder} is a file\n  -> choose a folder")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG_FILE).exists():
            raise CheckpointError(f"{folder} holds other files, not a forecaster\n  -> choose an empty folder")
        if type(self.model).__name__ not in MODELS:
            raise CheckpointError(
                f"the model is {type(self.model).__qualname__}, wanted one of {', '.join(MODELS)}\n"
                "  -> keep the weights of a module of your own with torch.save(model.state_dict(), file)"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        state = {key: value.detach().cpu().contiguous() for key, value in self.model.state_dict().items()}
        if half:
            state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
        stored = {
            "format": FORMAT,
            "xforecast": __version__,
            "model": describe(self.model),
            "spec": self.spec.to_dict(),
            "card": self.card,
        }
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".xforecast-") as scratch:
            weights = Path(scratch) / WEIGHTS_FILE
            weights.write_bytes(safetensors(state))  # with the rights that files have here
            stored["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
            (Path(scratch) / CONFIG_FILE).write_text(json.dumps(stored, indent=1) + "\n")
            folder.mkdir(exist_ok=True)
            for name in (WEIGHTS_FILE, CONFIG_FILE):
                shutil.move(Path(scratch) / name, folder / name)
        return folder

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Forecaster:
        """Read what `save` wrote; strict about every key, and the digest of the weights is checked."""
        folder = Path(folder)
        stored = _stored(folder)
        state = _weights(folder, stored["weights_sha256"])
        try:
            model, spec = build(**stored["model"]), DataSpec.from_dict(stored["spec"])
        except (InvalidOption, LookupError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(
                f"{folder / CONFIG_FILE} describes no model of this version: {type(error).__name__}: {error}\n"
                "  -> copy the folder anew, or upgrade xforecast"
            ) from error
        load_strictly(model, {key: _single(value) for key, value in state.items()}, source=str(folder))
        forecaster = cls(model, spec, stored["card"])
        forecaster.folder = str(folder.resolve())
        return forecaster

    def folder_for_workers(self) -> str:
        """Where another process finds this forecaster; one that was never saved is saved in the cache."""
        if self.folder is None:
            folder = Path(parallel.cache_folder()) / "workers" / self.digest[:32]
            if not (folder / CONFIG_FILE).exists():
                self.save(folder)
            self.folder = str(folder)
        return self.folder

    # -------------------------------------------------------------- for people

    def _rows(self) -> list[tuple[str, str]]:
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        model = type(self.model).__name__
        inner = getattr(self.model, "summary", "")
        rows = [("model", f"{model}{f' of {inner}' if inner else ''}, {parameters:,} parameters")]
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


# ------------------------------------------------------------------ files


def _stored(folder: Path) -> dict[str, Any]:
    """The description beside the weights, whole and of this format."""
    file = folder / CONFIG_FILE
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"no forecaster in {folder}: {name} is missing\n"
                "  -> give a folder written by Forecaster.save, or a name of xforecast.list_models()"
            )
    try:
        stored = json.loads(file.read_text())
    except ValueError as error:  # not JSON, or not even text
        raise CheckpointError(f"{file} is damaged: {error}\n  -> copy the folder anew") from error
    if not isinstance(stored, dict):
        raise CheckpointError(f"{file} is damaged: found no table\n  -> copy the folder anew")
    if stored.get("format") != FORMAT:
        raise CheckpointError(f"{file}: found format {stored.get('format')!r}, wanted {FORMAT}\n  -> upgrade xforecast")
    if missing := sorted({"model", "spec", "card", "weights_sha256"} - set(stored)):
        raise CheckpointError(f"{file} is damaged: {', '.join(missing)} missing\n  -> copy the folder anew")
    return stored


def _weights(folder: Path, wanted: str) -> dict[str, torch.Tensor]:
    """The weights, if they have that SHA-256."""
    file = folder / WEIGHTS_FILE
    raw = file.read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != wanted:
        raise CheckpointError(
            f"{file}: found sha256 {found[:16]}..., wanted {str(wanted)[:16]}...\n"
            "  -> the file is damaged or was exchanged; copy the folder anew"
        )
    try:
        return load_bytes(raw)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is damaged: {error}\n  -> copy the folder anew") from error


def _identity(model: torch.nn.Module) -> dict[str, Any]:
    """Name and configuration, for a module of the user's own as well."""
    if type(model).__name__ in MODELS:
        return describe(model)
    return {"model": f"{type(model).__module__}.{type(model).__qualname__}", "config": repr(model.config)}


class _Runs:
    """The forward passes of one call of `Forecaster.predict`, in batches of (start, sample) pairs."""

    def __init__(self, model, window, histories: torch.Tensor, numbers, keys, seed: int, precision: str, sampling):
        self.model, self.window, self.histories, self.sampling = model, window, histories, sampling
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self.seed, self.keys, self.precision = seed, keys, precision
        self.drawn = draws_samples(model)
        self.contexts: dict[int, torch.Tensor] = {}
        count = len(numbers) if self.drawn else 1
        self.rows = np.repeat(np.arange(len(histories)), count)
        self.members = np.tile(numbers, len(histories)) if self.drawn else np.zeros(len(histories), np.int64)
        self.residual = np.zeros((len(self.rows), 2), np.float32)
        """How far each pair is from the constraint, without and with guidance."""

    def all(self, batch_size: int, progress: bool | None, name: str) -> torch.Tensor:
        """Every pair, starts outermost: (pair, horizon, height, width, channel) on the CPU."""
        total = len(self.rows)
        if total == 0:
            raise InvalidOption("x", "no starts", "at least one history")
        steps = iter(track(range(total), f"forecasting with {name}", enabled=progress, total=total))
        next(steps, None)

        def advance(done: int) -> None:
            for _ in range(done):
                next(steps, None)

        with parallel.device_lock(self.device), torch.inference_mode():
            return parallel.in_batches(self._batch, total, batch_size, advance)

    def _batch(self, batch: slice) -> torch.Tensor:
        rows = self.rows[batch]
        used, local = np.unique(rows, return_inverse=True)
        histories = self.histories[used].to(self.device)
        with parallel.pick_precision(self.precision, self.device):
            if not self.drawn:
                return self._whole(self.model, histories).float().cpu()
            members = self.members[batch]
            generators = [
                parallel.generator(self.seed, self.keys[row], member) for row, member in zip(rows, members, strict=True)
            ]
            options = {**self.sampling, **self._context(used)}
            if options.get("constraint") is not None:
                options["report"] = True
            drawn = (torch.from_numpy(local), torch.from_numpy(members), generators)
            found = self._whole(lambda x: self.model.sample(x, *drawn, **options), histories)
        if options.get("report"):
            found, report = found
            self.residual[batch] = torch.stack([report.unguided, report.residual], dim=1).float().cpu().numpy()
        return found.float().cpu()

    def _whole(self, run, histories: torch.Tensor):
        """The model on whole fields, in windows where they are larger than it takes."""
        if getattr(self.model, "any_grid", False):
            return run(histories)
        return tiled(run, histories, self.window)

    def _context(self, used: np.ndarray) -> dict[str, torch.Tensor]:
        """What the model makes of these histories before it samples, made once for all samples of a start."""
        if not hasattr(self.model, "encode_context"):
            return {}
        known = {row: self.contexts[row] for row in used if row in self.contexts}
        fresh = [row for row in used if row not in known]
        if fresh:
            made = self.model.encode_context(self.histories[fresh].to(self.device))
            known |= dict(zip(fresh, made, strict=True))
        self.contexts = known
        return {"context": torch.stack([known[row] for row in used])}


def _single(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.dtype == torch.float16 else value


def _positive(option: str, value) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidOption(option, value, "a whole number, 1 or more")
    return int(value)
