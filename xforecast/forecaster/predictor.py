"""A model and its spec: arrays in, arrays out, in the units of the data."""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from xforecast.cf import cache_folder
from xforecast.errors import InvalidOption, XForecastWarning
from xforecast.forecaster.devices import device_lock, in_batches, pick_device, pick_precision
from xforecast.forecaster.folder import CONFIG_FILE, identity, write
from xforecast.forecaster.options import ForecastOptions, positive
from xforecast.forecaster.progress import track
from xforecast.forecaster.randomness import generator
from xforecast.models import Abilities, Constraint, constraints, contract
from xforecast.models.blocks import tiled
from xforecast.spec import DataSpec, normalise, restore

__all__ = ["Predictor"]

FAR = 0.5
"""Share of the residual without guidance that may be left with it before a forecast warns."""
NEAR = 0.1
"""Distance from a target, as a share of it, that never warns."""
VALUES_PER_BATCH = {"cpu": 2**20, "cuda": 2**24}
"""Output values of one forward pass when the batch size is chosen automatically."""


class Predictor:
    """A model with the spec of its data; it knows nothing of labels.

    Parameters
    ----------
    model : torch.nn.Module
    spec : DataSpec
    card : mapping, optional
        What a reader should know.
    folder : str, optional
        Where it is saved.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        spec: DataSpec,
        card: Mapping[str, Any] | None = None,
        folder: str | None = None,
    ):
        self.model = model.eval()
        self.spec = spec
        self.card = dict(card or {})
        self.folder = folder
        self._copies: dict[str, torch.nn.Module] = {}

    @property
    def name(self) -> str:
        """Its name, or the class of its model."""
        return str(self.card.get("name") or type(self.model).__name__)

    @property
    def abilities(self) -> Abilities:
        """What the model can do."""
        return contract.abilities_of(self.model)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of weights, architecture and spec; provenance, and the key of caches."""
        summary = hashlib.sha256(json.dumps([identity(self.model), self.spec.to_dict()], sort_keys=True).encode())
        for key, value in sorted(self.model.state_dict().items()):
            summary.update(key.encode())
            summary.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return summary.hexdigest()

    def folder_for_workers(self) -> str:
        """Where another process finds it; one that was never saved is saved in the cache."""
        if self.folder is None:
            folder = cache_folder() / "workers" / self.digest[:32]
            if not (folder / CONFIG_FILE).exists():
                write(folder, self.model, self.spec, self.card)
            self.folder = str(folder)
        return self.folder

    # -------------------------------------------------------------- which samples

    @property
    def default_samples(self) -> int:
        """Samples that a forecast has when their number is left open."""
        return self.abilities.samples or 1

    def count(self, samples: Any) -> int:
        """How many samples, or an error where the model has not as many."""
        if samples is None:
            return self.default_samples
        count, limit = positive("samples", samples), self.abilities.samples
        if limit is not None and count > limit:
            kind = "is deterministic and gives 1" if limit == 1 else f"has {limit} members, which are its samples"
            raise InvalidOption("samples", count, f"at most {limit}: {self.name} {kind}", f"samples={limit}")
        return count

    def which(self, samples: int | Sequence[int] | np.ndarray | None) -> np.ndarray:
        """The samples to draw by their numbers, from how many or which."""
        if samples is None or np.ndim(samples) == 0:
            return np.arange(self.count(samples))
        chosen = np.asarray(samples)
        if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu" or chosen.min() < 0:
            raise InvalidOption("samples", samples, "how many, or a list of numbers from 0", "samples=4")
        self.count(int(chosen.max()) + 1)
        return chosen.astype(np.int64)

    # -------------------------------------------------------------- which fields

    @property
    def takes_windows(self) -> bool:
        """Whether it can do the windows of a larger field one by one: it draws no noise, and knows no places."""
        return not self.abilities.bound_to_places and self.abilities.samples is not None

    def check_shape(self, x: np.ndarray) -> None:
        """Raise :class:`~xforecast.errors.InvalidOption` for arrays that the model does not take."""
        history, *window, channels = self.spec.input_shape
        if x.ndim == 5 and x.shape[1:] == self.spec.input_shape:
            return
        fits = x.ndim == 5 and (x.shape[1], x.shape[4]) == (history, channels)
        larger = fits and x.shape[2] >= window[0] and x.shape[3] >= window[1] and self.spec.any_window
        if not larger or not (self.takes_windows or self.abilities.any_grid):
            wanted = f"shape (init, {', '.join(map(str, self.spec.input_shape))})"
            raise InvalidOption("x", x.shape, wanted, "x.transpose or x.reshape, or forecast from a Dataset")

    # -------------------------------------------------------------- the forecast

    def predict(
        self, x: np.ndarray, samples: np.ndarray, starts: np.ndarray, asked: ForecastOptions
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Forecast arrays.

        Parameters
        ----------
        x : numpy.ndarray
            Shape (init, history, y, x, channel), in the spec's units and quantities, missing values
            as NaN; calendar channels last. Where the spec's grid is any window, y and x may be larger.
        samples : numpy.ndarray of int
            The numbers of the samples to draw.
        starts : numpy.ndarray of int
            Identity of each start for the random numbers.
        asked : ForecastOptions
            From `ForecastOptions.of`.

        Returns
        -------
        numpy.ndarray
            Shape (init, sample, lead, y, x, channel), float32, in the spec's units.
        numpy.ndarray or None
            The norm of the constraint's residual, shape (init, sample, 2): without and with guidance.
        """
        if not len(x):
            raise InvalidOption(
                "x", "no starts", "at least one history", 'init="all" makes every forecast there can be'
            )
        network_in = torch.from_numpy(normalise(x, self.spec))
        model = self._on(pick_device(asked.device))
        runs = _Runs(model, self.spec, network_in, samples, starts, asked)
        size = self._batch_size(runs.device) if asked.batch_size == "auto" else int(asked.batch_size)
        if runs.constraint is not None:
            history = network_in[runs.start_of[:size]].to(runs.device)
            frames = (self.spec.horizon, *x.shape[2:4], len(self.spec.targets))
            constraints.check_constraint(runs.constraint, history, frames)
        found = runs.all(size, asked.progress, self.name).numpy()
        found = found.reshape(len(x), -1, *found.shape[1:])[:, :, : asked.horizon]
        values = restore(found, x, self.spec)
        if runs.constraint is None:
            return values, None
        residual = runs.residual.reshape(len(x), -1, 2)
        _warn_unreached(residual, runs.constraint)
        return values, residual

    def _on(self, device: torch.device) -> torch.nn.Module:
        if device.type == "cpu":
            return self.model
        if str(device) not in self._copies:
            self._copies[str(device)] = copy.deepcopy(self.model).to(device)
        return self._copies[str(device)]

    def _batch_size(self, device: torch.device) -> int:
        values = int(np.prod(self.spec.target_shape))
        return max(1, VALUES_PER_BATCH.get(device.type, VALUES_PER_BATCH["cpu"]) // values)


def _warn_unreached(residual: np.ndarray, constraint: Constraint) -> None:
    """Warn where guidance leaves most of the residual that there was without it."""
    before, after = residual[..., 0], residual[..., 1]
    if not np.isfinite(before).all():
        wanted = "finite numbers for every field"
        raise InvalidOption("constraint", "a residual that is not finite", wanted, "no division by zero in it")
    if not np.isfinite(after).all():
        found = f"samples without bounds on the way to it, from a residual of {before.mean():.3g} without guidance"
        raise InvalidOption("constraint", found, "a target within reach", "a nearer target, or less strength")
    far = (after > FAR * before) & (after > NEAR * constraints.target_size(constraint)) & (after > 0)
    if not far.any():
        return
    worst = np.unravel_index(np.argmax(np.where(far, after, 0)), after.shape)
    farther = after[worst] > before[worst]
    advice = (
        "they are farther than without, do not use them; the target is out of reach or steps are too few"
        if farther
        else "the target may be out of reach, or ask for more steps or strength"
    )
    warnings.warn(
        f"constraint: {far.sum()} of {far.size} samples do not reach it; the farthest has a residual of "
        f"{after[worst]:.3g}, and {before[worst]:.3g} without guidance -> see constraint_residual; {advice}",
        XForecastWarning,
        stacklevel=2,
    )


@dataclass
class _Runs:
    """The forward passes of one call of `Predictor.predict`, in batches of (start, sample) pairs."""

    model: Any
    spec: DataSpec
    histories: torch.Tensor
    samples: np.ndarray
    starts: np.ndarray
    asked: ForecastOptions
    contexts: dict[int, tuple[torch.Tensor, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.abilities = contract.abilities_of(self.model)
        self.drawn = contract.draws_samples(self.model)
        self.device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
        count = len(self.samples) if self.drawn else 1
        self.start_of = np.repeat(np.arange(len(self.histories)), count)
        self.sample_of = np.tile(self.samples, len(self.histories)) if self.drawn else np.zeros_like(self.start_of)
        self.options = {} if self.asked.drawing is None else self.asked.drawing.to_dict()
        self.constraint: Constraint | None = None
        if self.options.get("constraint") is not None:
            constraint = constraints.as_constraint(self.options["constraint"])
            self.constraint = constraint.seen_through(self.spec.to_physical)
            self.options |= {"constraint": self.constraint, "report": True}
        self.residual = np.zeros((len(self.start_of), 2), np.float32)
        """How far each pair is from the constraint, without and with guidance."""

    def all(self, batch_size: int, progress: bool | None, name: str) -> torch.Tensor:
        """Every pair, starts outermost: (pair, horizon, height, width, channel) on the CPU."""
        total = len(self.start_of)
        steps = iter(track(range(total), f"forecasting with {name}", enabled=progress, total=total))
        next(steps, None)

        def advance(done: int) -> None:
            for _ in range(done):
                next(steps, None)

        with device_lock(self.device), torch.inference_mode():
            return in_batches(self._batch, total, batch_size, advance)

    def _batch(self, batch: slice) -> torch.Tensor:
        used, starts = np.unique(self.start_of[batch], return_inverse=True)
        histories = self.histories[used].to(self.device)
        with pick_precision(self.asked.precision, self.device):
            if not self.drawn:
                return self._on_fields(self.model, histories).float().cpu()
            samples = self.sample_of[batch]
            generators = [
                generator(self.asked.seed, self.starts[used[start]], sample)
                for start, sample in zip(starts, samples, strict=True)
            ]
            options = {**self.options, **self._context(used)}
            drawn = (torch.from_numpy(starts), torch.from_numpy(samples), generators)
            found = self._on_fields(lambda x: self.model.sample(x, *drawn, **options), histories)
        if self.constraint is not None:
            found, report = found
            self.residual[batch] = torch.stack([report.unguided, report.residual], dim=1).float().cpu().numpy()
        return found.float().cpu()

    def _on_fields(self, run, histories: torch.Tensor):
        """The model on complete fields, in windows where they are larger than it takes."""
        return run(histories) if self.abilities.any_grid else tiled(run, histories, self.spec.grid.shape)

    def _context(self, used: np.ndarray) -> dict[str, Any]:
        """What the model makes of these histories before it samples, made once for all samples of a start."""
        if not self.abilities.shares_context:
            return {}
        known = {start: self.contexts[start] for start in used if start in self.contexts}
        if fresh := [start for start in used if start not in known]:
            made = self.model.encode_context(self.histories[fresh].to(self.device))
            parts = made if isinstance(made, tuple) else (made,)
            known |= dict(zip(fresh, zip(*parts, strict=True), strict=True))
        self.contexts = known
        parts = tuple(torch.stack(part) for part in zip(*(known[start] for start in used), strict=True))
        return {"context": parts if len(parts) > 1 else parts[0]}
