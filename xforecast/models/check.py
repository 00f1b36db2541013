"""Try a model of one's own against the contract, before it costs hours of training."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xforecast.errors import InvalidOption, XForecastError
from xforecast.models.catalogue import build, describe, name_of
from xforecast.models.contract import abilities_of, config_of, draws_samples, has_loss, learns, load_strictly

if TYPE_CHECKING:
    from xforecast.spec import DataSpec

__all__ = ["ModelReport", "check_model"]

BATCH = 3
SHAPE = "forecasts of the right shape"
SAMPLES = "samples of the right shape"
EXTRA_CELLS = 8
METHODS = {
    # the method, the field of Abilities that must mention it, and how
    "sample": ("samples", "samples=None"),
    "fit_series": ("closed_form", "closed_form=True"),
    "at_step": ("follows_training", "follows_training=True"),
    "preview": ("previews", "previews=True"),
    "encode_context": ("shares_context", "shares_context=True"),
    "stage": ("parts", 'parts=("first", "second")'),
}


@dataclass
class ModelReport:
    """Results of the trials of a model; true when none failed.

    Attributes
    ----------
    passed : list of str
        What the model does as the contract says.
    problems : list of (str, str)
        What it does not do as the contract says, each with a remedy.
    notes : list of str
        What works and yet deserves a look.

    Examples
    --------
    >>> report = ModelReport("Mine", passed=["forward"], problems=[("no method loss", "write one")])
    >>> bool(report)
    False
    >>> print(report)
    Mine: 1 problem
      passed   forward
      problem  no method loss
               -> write one
    """

    name: str
    passed: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not self.problems

    def __repr__(self) -> str:
        count = len(self.problems)
        summary = f"{count} problem{'s' if count > 1 else ''}" if count else "keeps the contract"
        lines = [f"{self.name}: {summary}"]
        lines += [f"  passed   {text}" for text in self.passed]
        for found, remedy in self.problems:
            lines += [f"  problem  {found}", f"           -> {remedy}"]
        lines += [f"  note     {text}" for text in self.notes]
        return "\n".join(lines)


class _Fails(Exception):  # noqa: N818 - never leaves this file
    """A check fails; its arguments are what was found, and what to do."""


def _failure(title: str, error: Exception) -> tuple[str, str]:
    """What was found and what to do, from whatever a check raised."""
    if isinstance(error, _Fails):
        found, remedy = error.args
        return found, remedy
    text, _, remedy = str(error).partition("\n  -> ")
    if not isinstance(error, XForecastError):
        text, remedy = f"{type(error).__name__}: {error}", ""
    return f"{title}: {text}", remedy or "mend this in the module"


def check_model(model: nn.Module, spec: DataSpec) -> ModelReport:
    """Try a module against the contract of models: shapes, loss, missing targets, samples, saving.

    The module itself is left as it is; a copy of it is tried on random numbers, on the CPU.

    Parameters
    ----------
    model : torch.nn.Module
        See `xforecast.models.contract`.
    spec : DataSpec
        Description of the data that it shall take, such as ``xforecast.load("earthformer-enso").spec``.

    Returns
    -------
    ModelReport
        Prints what passed and what did not, with remedies; true when nothing failed.

    Examples
    --------
    >>> from xforecast.models import Persistence, PersistenceConfig
    >>> from xforecast.spec import DataSpec, Grid, Variable
    >>> spec = DataSpec([Variable("sst", "degC")], Grid("pixel", (4, 5)), "1 month", history=2, horizon=3)
    >>> bool(check_model(Persistence(PersistenceConfig(horizon=3)), spec))
    True
    >>> check_model(torch.nn.Identity(), spec).problems[0][0]
    'no method loss(x, y, weight)'
    """
    if not isinstance(model, nn.Module):
        raise InvalidOption("model", type(model).__name__, "a torch.nn.Module", "pass the module, not its class")
    report = ModelReport(type(model).__name__)
    trial = _Trial(copy.deepcopy(model).cpu().eval(), spec)
    for title, check in trial.checks():
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                check()
        except Exception as error:  # whatever the author's own code raises
            report.problems.append(_failure(title, error))
            if title in (SHAPE, SAMPLES):
                break  # the other checks would repeat the problem
        else:
            report.passed.append(title)
    report.notes += trial.notes()
    return report


def _same(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


class _Trial:
    """The checks of one module."""

    def __init__(self, model: nn.Module, spec: DataSpec):
        self.model: Any = model
        self.spec, self.abilities = spec, abilities_of(model)
        generator = torch.Generator().manual_seed(0)
        self.x = torch.rand(BATCH, *spec.input_shape, generator=generator)
        self.y = torch.rand(BATCH, *spec.target_shape, generator=generator)
        self.all_alike = self.some_missing = False
        """Whether two samples of one start were the same, and whether forecasts have missing values."""

    def checks(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Title and function of each check that the module's abilities call for."""
        yield "has a loss", self.has_loss
        yield SHAPE, self.forward
        yield "gives the same forecast again", self.repeats
        if not draws_samples(self.model):
            yield "each forecast depends on its own history alone", self.apart
        if not has_loss(self.model):
            return
        yield "the loss is a number", self.loss
        yield "missing targets of weight 0 count nothing", self.missing
        if learns(self.model):
            yield "the loss has a gradient", self.gradient
        if draws_samples(self.model):
            yield SAMPLES, self.samples
            yield "a sample depends on its own random numbers alone", self.samples_apart
        if self.abilities.sampling is not None:
            yield "takes its own options of sampling", self.sampling
        if self.abilities.any_grid:
            yield "takes larger fields", self.larger
        for method, (ability, _) in METHODS.items():
            if method != "sample" and getattr(self.abilities, ability):
                yield f"has the method {method}", lambda method=method: self.has(method)  # type: ignore[misc]
        if name_of(self.model) is not None:
            yield "can be built anew with the same weights", self.rebuilt

    def has_loss(self) -> None:
        if not has_loss(self.model):
            raise _Fails("no method loss(x, y, weight)", "return weighted_mse(self(x), y, weight) from it")

    def has(self, method: str) -> None:
        if not callable(getattr(self.model, method, None)):
            raise _Fails(f"abilities call for a method {method}, which the module lacks", "write it")

    def _wanted(self, found: torch.Tensor, batch: int, what: str) -> None:
        wanted = (batch, *self.spec.target_shape)
        if not isinstance(found, torch.Tensor) or tuple(found.shape) != wanted:
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            remedy = "the layout is (batch, time, height, width, channel)"
            raise _Fails(f"{what}: found {shape}, wanted {wanted}", remedy)
        if found.isinf().any() or found.isnan().all():
            raise _Fails(f"{what}: values that are not finite", "look for divisions by zero and logarithms")
        self.some_missing |= bool(found.isnan().any())

    def _untouched(self, what: str, call: Callable[..., Any], *given: torch.Tensor | None) -> Any:
        """What a call gives, if it leaves its arguments as they are."""
        copies = [None if one is None else one.clone() for one in given]
        found = call(*copies)
        for copy_, one in zip(copies, given, strict=True):
            if one is not None and copy_ is not None and not torch.equal(copy_, one):
                raise _Fails(f"{what} writes into its input", "work on a copy: x = x.clone()")
        return found

    @torch.no_grad()
    def forward(self) -> None:
        self._wanted(self.model(self.x.clone()), BATCH, "forward")

    @torch.no_grad()
    def repeats(self) -> None:
        found = self._untouched("forward", self.model, self.x)
        if not _same(found, self.model(self.x.clone())):
            raise _Fails("two calls of forward give different forecasts", "draw at random in sample only")

    @torch.no_grad()
    def apart(self) -> None:
        if not _same(self.model(self.x[:1].clone()), self.model(self.x.clone())[:1]):
            raise _Fails("a forecast depends on the others in its batch", "no means over the batch in eval mode")

    def loss(self) -> None:
        for weight in (None, torch.ones(1), torch.rand(self.y.shape)):
            found = self._untouched("loss", self.model.loss, self.x, self.y, weight)
            if not isinstance(found, torch.Tensor) or found.ndim or not found.isfinite():
                raise _Fails(f"loss: found {found}, wanted a finite tensor without dimensions", "return a mean")

    def missing(self) -> None:
        absent = torch.rand(self.y.shape) < 0.3
        weight = (~absent).float()
        losses = []
        for filling in (torch.nan, 1e6):
            torch.manual_seed(0)
            losses.append(self.model.loss(self.x, torch.where(absent, filling, self.y), weight))
        if not losses[0].isfinite():
            remedy = "torch.where(weight == 0, 0, error) before squaring; xforecast.models.weighted_mse does it"
            raise _Fails("missing targets of weight 0 make the loss NaN", remedy)
        if not torch.allclose(losses[0], losses[1], rtol=1e-4):
            raise _Fails("targets of weight 0 change the loss", "leave them out where weight is 0")

    def gradient(self) -> None:
        self.model.zero_grad()
        absent = torch.rand(self.y.shape) < 0.3
        self.model.train()
        try:
            loss = self.model.loss(self.x, torch.where(absent, torch.nan, self.y), (~absent).float())
        finally:
            self.model.eval()
        if not loss.requires_grad:
            raise _Fails("the loss has no gradient", "no .detach(), .item() or numpy between weights and loss")
        loss.backward()
        found = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        if not all(gradient.isfinite().all() for gradient in found):
            remedy = "torch.where(weight == 0, 0, error) before squaring; xforecast.models.weighted_mse does it"
            raise _Fails("missing targets of weight 0 make gradients NaN", remedy)

    def _drawn(self, starts: list[int], samples: list[int], **options: Any) -> torch.Tensor:
        generators = [
            torch.Generator().manual_seed(10 * start + sample) for start, sample in zip(starts, samples, strict=True)
        ]

        def sample(x: torch.Tensor) -> torch.Tensor:
            return self.model.sample(x, torch.tensor(starts), torch.tensor(samples), generators, **options)

        with torch.no_grad():
            return self._untouched("sample", sample, self.x)

    def samples(self) -> None:
        self.has("sample")
        self._wanted(self._drawn([0, 1, 2], [0, 0, 0]), 3, "sample")

    def samples_apart(self) -> None:
        last = 1 if self.abilities.samples is None else self.abilities.samples - 1
        several, alone = self._drawn([0, 1, 0], [0, 0, last]), self._drawn([0], [last])
        if not _same(several[2:], alone):
            remedy = "draw sample k from generators[k] only: torch.randn(shape, generator=generators[k])"
            raise _Fails("a sample depends on what else is drawn", remedy)
        self.all_alike = _same(several[:1], several[2:])

    def sampling(self) -> None:
        assert self.abilities.sampling is not None
        known = inspect.signature(self.model.sample).parameters
        anything = any(entry.kind is inspect.Parameter.VAR_KEYWORD for entry in known.values())
        lacking = [name for name in self.abilities.sampling.names() if name not in known]
        if lacking and not anything:
            raise _Fails(f"sample lacks the options {', '.join(lacking)}", "give it keyword arguments of these names")

    @torch.no_grad()
    def larger(self) -> None:
        height, width = self.spec.grid.shape
        larger = (height + EXTRA_CELLS, width + EXTRA_CELLS)
        x = torch.rand(1, self.spec.history, *larger, self.x.shape[-1])
        found = tuple(self.model(x).shape[2:4])
        if found != larger:
            raise _Fails(f"a field of {larger} gives one of {found}", "abilities without any_grid: windows are joined")

    @torch.no_grad()
    def rebuilt(self) -> None:
        if config_of(self.model) is None:
            raise _Fails("no configuration to build the model from again", "self.config = config in its __init__")
        twin = build(**describe(self.model)).eval()
        load_strictly(twin, self.model.state_dict())
        if not _same(twin(self.x), self.model(self.x)):
            remedy = "keep all that the forecast needs in the configuration, parameters and buffers"
            raise _Fails("the model built anew from its configuration and weights forecasts otherwise", remedy)

    def notes(self) -> Iterator[str]:
        for method, (ability, stated) in METHODS.items():
            # What a module without stated abilities is taken to do is what its methods seem to be.
            said = draws_samples(self.model) if method == "sample" else getattr(self.abilities, ability)
            ours = type(self.model).__module__.startswith("xforecast.")
            if not said and not ours and callable(getattr(self.model, method, None)):
                yield f"the method {method} is never called; the attribute abilities = Abilities({stated}) changes that"
        if self.all_alike and self.abilities.samples != 1:
            yield "two samples of one start are the same: is randomness taken from the generators?"
        if self.some_missing:
            yield "some values of its forecasts are missing (NaN): is this meant?"
        if name_of(self.model) is None:
            yield "it cannot be saved: xforecast.models.register(its class, the class of its configuration) allows it"
