"""What users may ask for, explained once: the options of forecasts and of trainings, for every door to them.

The same options are offered by functions, methods, the accessor and the command line. Each explains itself from the
tables here, and refuses a name that is no option with the nearest name that is one.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from xforecast.errors import InvalidOption, did_you_mean

__all__ = ["FIT", "FORECAST", "door", "first_sentence", "one_of_two_names", "unknown_option"]

Function = TypeVar("Function", bound=Callable[..., Any])

FORECAST = {
    "ds": (
        "xarray.Dataset or xarray.DataArray",
        "CF-compliant data. Names, dimension order, orientation, longitude convention and units may be the data's own; "
        "numpy data give numpy, dask data give dask and nothing is computed.",
    ),
    "model": (
        "str, path or Forecaster, optional",
        "A name of `xforecast.list_models`, a folder written by `Forecaster.save`, or a forecaster. Left out, the one "
        "forecaster in the package that the data fit.",
    ),
    "init": (
        "optional",
        "Which forecasts to make, by the time stamp of the newest data that each may see: None for the newest possible "
        '(``init`` is then a scalar coordinate), a date, a slice, a list of dates, or ``"all"``. The step at lead k is '
        "valid k time steps after ``init``.",
    ),
    "samples": ("int, optional", "Number of samples; the forecaster's own number by default."),
    "horizon": ("int, optional", "Number of steps, at most as many as the model was trained for."),
    "seed": (
        "int, default 0",
        "Seed of the random numbers. Sample k of a start is the same for the same seed, whatever else is asked for.",
    ),
    "constraint": (
        "Constraint or callable, optional",
        "For models that sample by diffusion: what the samples shall obey; see `xforecast.models.Constraint`.",
    ),
    "sampler": (
        "str, optional",
        'For models that sample by diffusion: how samples are drawn, "dpm++" by default, "dpm++sde", "ddim" or "ddpm".',
    ),
    "steps": ("int, optional", "For models that sample by diffusion: in how many steps samples are drawn."),
    "strength": ("float, optional", "How hard the constraint pulls; the constraint's own strength by default."),
    "eta": ("float, optional", "Share of the noise that is drawn anew on the way, 0 to 1; the sampler's by default."),
    "guidance": (
        '{"auto", "network", "decoder"}, optional',
        "Whether the constraint is applied through a network that was trained for it, or through the decoder.",
    ),
    "through_denoiser": (
        "bool, optional",
        "Whether guidance through the decoder takes the denoiser's derivative; False is faster and less faithful.",
    ),
    "sampling": ("mapping, optional", "Options of a model of one's own: those that its ``abilities.sampling`` names."),
    "variables": (
        "mapping, optional",
        'Names in the data by names in the model, such as ``{"sst": "tos"}``, where CF attributes do not tell.',
    ),
    "base_period": (
        "tuple of str, optional",
        'For a model of anomalies, the base period of the data\'s own climatology, such as ``("1991", "2020")``. It '
        "replaces the model's own climatology, which is of other observations: what the two differ by in the mean "
        "would be forecast as an anomaly. Computed at once, also of dask data.",
    ),
    "climatology": ("tuple of str, optional", "The former name of ``base_period``."),
    "device": ('str, default "auto"', 'Where the network runs: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.'),
    "precision": ('{"auto", "float32", "bfloat16"}', "Precision of the network."),
    "batch_size": ('int or "auto"', "Samples in one forward pass; it does not change the numbers."),
    "progress": (
        "bool, optional",
        "Draw a bar; None draws one where somebody watches and it takes longer than two seconds.",
    ),
}
"""Type and meaning of every option of a forecast."""

FIT = {
    "ds": (
        "xarray.Dataset or xarray.DataArray",
        "CF-compliant, with a regular time axis and two spatial axes; gaps in time are left out, missing values (land) "
        "count nothing in the loss.",
    ),
    "model": (
        "str, path, Config, torch.nn.Module or Forecaster",
        "A name in `xforecast.models.MODELS`, a configuration, whose lengths, grid and channels are set to those of "
        "the data, or a module of the contract in `xforecast.models.contract`. A forecaster, its name or its folder is "
        "fine-tuned: training starts from its weights, with the same or another region, variable set or horizon. Where "
        "data fit the forecaster's spec it is kept; variables that it knows keep their normalisation; weights whose "
        "shape does not fit start anew, which a warning and the card say.",
    ),
    "history": ("int, optional", "Number of steps in; that of the forecaster that is fine-tuned by default."),
    "horizon": ("int, optional", "Number of steps out; that of the forecaster that is fine-tuned by default."),
    "variables": ("sequence of str, optional", "What goes in; every variable with the three axes by default."),
    "targets": ("sequence of str, optional", "What comes out; all of the variables by default."),
    "base_period": (
        "tuple of str, optional",
        'Base period of a monthly climatology, such as ``("1951", "1980")``; the model then works on anomalies, and '
        "the forecaster accepts either kind.",
    ),
    "base": ("tuple of str, optional", "The former name of ``base_period``."),
    "calendar": ('sequence of {"annual", "diurnal"}', "Cycles whose phase is an input of the model."),
    "transform": (
        "str, tuple or mapping, optional",
        "For skewed variables such as rain rate: a name in `xforecast.spec.TRANSFORMS`, or a name and its scale in the "
        'variable\'s units, such as ``("log1p", 0.5)``; for all variables or, in a mapping, by name.',
    ),
    "spec": ("DataSpec, optional", "In place of the options from ``history`` to ``transform``."),
    "valid": (
        "float, slice, Dataset or None",
        "What is held out to choose the best weights: the last share of the record, a period, other data, or nothing. "
        "No window for training reaches into a held-out period.",
    ),
    "in_memory": (
        "bool, optional",
        "Load the data, or read them block by block in the course of training. By default dask data of more than 2 GiB "
        "are not loaded.",
    ),
    "members": (
        "int, optional",
        "Independently trained networks, 1 by default; more than one make an `Ensemble`, whose samples they are. Of an "
        "ensemble that is fine-tuned, each network is.",
    ),
    "stages": (
        "mapping, optional",
        "For a model that is trained in parts, such as `PreDiff` (autoencoder, denoiser, alignment): options of each "
        "part by name. Fields of `TrainingOptions` there go before those of the call, and those of the call, where "
        "they differ from their defaults, before what the part asks for by itself. Others are the part's own, such as "
        "``adversary`` of the autoencoder and ``functional`` of the alignment network, a function of the physical "
        "field or a constraint. None leaves a part as it is. The alignment network is trained if it is named.",
    ),
    "area_weights": ("bool", "Weigh cells by their area where latitudes are known."),
    "name": ("str, optional", "Name of the forecaster."),
    "folder": (
        "path, optional",
        "For checkpoints, the log of losses and previews, a folder for each part; needed to resume.",
    ),
    "resume": ("bool", "Go on from the checkpoints in ``folder``."),
    "device": ("str", "As in `xforecast.forecast`."),
    "progress": ("bool, optional", "Draw a bar."),
    "epochs": ("int, default 50", "Passes over the training data."),
    "steps": ("int, optional", "Optimiser steps in place of epochs."),
    "batch_size": ("int, default 32", "Windows in one forward pass of each process."),
    "accumulate": ("int, default 1", "Forward passes in one optimiser step."),
    "learning_rate": ("float, default 1e-3", "Learning rate of AdamW."),
    "weight_decay": ("float, default 1e-5", "Weight decay of AdamW."),
    "warmup": ("float, default 0.2", "Share of the steps in which the learning rate rises linearly."),
    "final_learning_rate": ("float, default 1e-3", "Share of the learning rate that is left at the end of the cosine."),
    "gradient_clip": ("float, default 1", "Largest norm of the gradient."),
    "patience": ("int, optional", "Stop after this many validations without improvement; never by default."),
    "average": (
        'float, None or "auto"',
        "Decay of an exponential moving average of the weights, which then are the result; none by default, but for "
        "parts of a model that ask for one.",
    ),
    "precision": ('{"float32", "bfloat16"}', "Precision of the forward pass."),
    "activation_checkpointing": (
        "bool, default False",
        "Keep the inputs of attention and feed-forward layers only and compute the rest again for the gradient: the "
        "same numbers in less memory and more time. For models with such layers.",
    ),
    "devices": ("int, default 1", "Processes that train together, each on a GPU or on the CPU."),
    "strategy": ('str, default "auto"', "How processes train together, by the name in Lightning."),
    "seed": ("int, default 0", "Seed of initial weights and of the order of the data."),
}
"""Type and meaning of every option of a training."""


def door(table: Mapping[str, tuple[str, str]]) -> Callable[[Function], Function]:
    """A function through which users come in.

    Its docstring explains its options from a table, where it says ``{options}``; a keyword that is no option is refused
    with the nearest one that is.

    Examples
    --------
    >>> @door(FORECAST)
    ... def forecast(*, samples=None, seed=0):
    ...     '''Parameters
    ...     ----------
    ...     {options}
    ...     '''
    >>> print(forecast.__doc__.splitlines()[2].strip())
    samples : int, optional
    >>> forecast(sample=3)
    Traceback (most recent call last):
    ...
    xforecast.errors.InvalidOption: sample: found 3, wanted an option among samples, seed
      -> did you mean 'samples'?
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        names = [name for name in signature.parameters if name != "self"]

        @functools.wraps(function)
        def checked(*args: Any, **options: Any) -> Any:
            for name, value in options.items():
                if name not in signature.parameters:
                    raise unknown_option(name, value, names)
            return function(*args, **options)

        checked.__doc__ = _explained(function.__doc__ or "", names, table)
        return cast(Function, checked)

    return decorate


def unknown_option(name: str, value: Any, names: Sequence[str]) -> InvalidOption:
    """The error for a name that is no option."""
    otherwise = f"leave {name}= out"
    if "sampling" in names:
        otherwise += f", or sampling={{{name!r}: {value!r}}} for an option of sampling of a model of your own"
    wanted = f"an option among {', '.join(names)}"
    return InvalidOption(name, value, wanted, did_you_mean(name, names, otherwise))


def one_of_two_names(former: str, value: Any, name: str, named: Any) -> Any:
    """The value of an option that had another name, which may be given by either.

    Examples
    --------
    >>> one_of_two_names("base", ("1951", "1980"), "base_period", None)
    ('1951', '1980')
    """
    if value is not None and named not in (None, value):
        raise InvalidOption(former, f"{value!r}, and {name} {named!r}", "one of the two", f"leave {former}= out")
    return value if named is None else named


def _explained(doc: str, names: list[str], table: Mapping[str, tuple[str, str]]) -> str:
    before, marker, after = doc.partition("{options}")
    if not marker:
        return doc
    indent = before[before.rfind("\n") + 1 :]
    lines = []
    for name in names:
        kind, meaning = table[name]
        lines.append(f"{name} : {kind}")
        lines += textwrap.wrap(meaning, 110, initial_indent="    ", subsequent_indent="    ")
    return before + f"\n{indent}".join(lines) + after


def first_sentence(table: Mapping[str, tuple[str, str]], name: str) -> str:
    """The first sentence on an option, as the command line prints it.

    Examples
    --------
    >>> first_sentence(FORECAST, "seed")
    'seed of the random numbers'
    """
    sentence = table[name][1].partition(". ")[0].rstrip(".").replace("``", "")
    return sentence[:1].lower() + sentence[1:]
