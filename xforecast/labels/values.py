"""Missing, impossible and unusual values, found before they are forecast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from xforecast.labels.report import Finding
from xforecast.spec import DataSpec, Variable

__all__ = ["check_values"]

EMPTY_STEP = 0.5
"""Share of the model's cells that may lack a value in one step before the step counts as missing."""
UNUSUAL = 6.0
"""Distance from the training mean, in training standard deviations, at which a history warns."""


def check_values(histories: np.ndarray, spec: DataSpec, anomalies: Mapping[str, bool] | None = None) -> list[Finding]:
    """Findings about the values of some histories.

    Parameters
    ----------
    histories : numpy.ndarray
        Shape (init, history, y, x, channel), in the spec's units, missing values as NaN.
    spec : DataSpec
        Limits, training statistics, mask and the rule for missing values.
    anomalies : mapping, optional
        Which variables came as anomalies; it changes the messages only.

    Returns
    -------
    list of Finding
        Errors and warnings; empty where there is nothing to say.
    """
    findings: list[Finding] = []
    for channel, variable in enumerate(spec.variables):
        values = histories[..., channel]
        came_as_anomaly = bool((anomalies or {}).get(variable.name, False))
        for check in (
            _limits(values, variable, came_as_anomaly),
            _missing(values, variable, spec),
            _unusual(values, variable),
        ):
            found = list(check)
            findings += found
            if any(finding.level == "error" for finding in found):
                break
    return findings


def _limits(values: np.ndarray, variable: Variable, came_as_anomaly: bool) -> Iterator[Finding]:
    if np.isinf(values).any():
        yield Finding("error", "values", f"{variable.name}: infinite values", "replace them by NaN")
        return
    if variable.valid_range is None or np.isnan(values).all():
        return
    low, high = np.nanmin(values), np.nanmax(values)
    least, most = variable.valid_range
    if least <= low and high <= most:
        return
    found = f"{variable.name}: values from {low:.4g} to {high:.4g} {variable.units}"
    wanted = f"wanted {least:g} to {most:g}"
    if variable.climatology is None:
        yield Finding("error", "values", f"{found}, {wanted}", "check the units attribute and the fill value")
    else:
        yield _wrong_quantity(values, variable, came_as_anomaly, wanted)


def _wrong_quantity(values: np.ndarray, variable: Variable, came_as_anomaly: bool, wanted: str) -> Finding:
    """Out of limits as an anomaly: perhaps the data are not the quantity that they say they are."""
    assert variable.climatology is not None
    typical = np.nanmean(variable.climatology.values)
    median = float(np.nanmedian(values))
    own = values if came_as_anomaly else values + typical
    about = "" if came_as_anomaly else "about "
    found = f"{variable.name}: values from {about}{np.nanmin(own):.4g} to {np.nanmax(own):.4g} {variable.units}"
    name = variable.standard_names[0] if variable.standard_names else variable.name
    if not came_as_anomaly and abs(median + typical) < 0.3 * abs(typical):
        return Finding(
            "error",
            "values",
            f"{found} call themselves {name}, but look like anomalies of it",
            f"set their attribute standard_name to '{name}_anomaly'",
        )
    if came_as_anomaly and abs(median - typical) < 0.3 * abs(typical):
        return Finding(
            "error",
            "values",
            f"{found} call themselves anomalies, but look like {name} itself",
            f"set their attribute standard_name to '{name}'",
        )
    if abs(median + (0 if came_as_anomaly else typical) - typical - 273.15) < 20:
        return Finding("error", "values", f"{found} look like kelvin", "set the attribute units to 'K'")
    if abs(median + (0 if came_as_anomaly else typical) - typical + 273.15) < 20:
        return Finding(
            "error", "values", f"{found} look like degrees Celsius called kelvin", "set the attribute units to 'degC'"
        )
    return Finding(
        "error",
        "values",
        f"{found}; as anomalies {np.nanmin(values):.4g} to {np.nanmax(values):.4g}, {wanted}",
        "check the units attribute and the fill value",
    )


def _missing(values: np.ndarray, variable: Variable, spec: DataSpec) -> Iterator[Finding]:
    missing = np.isnan(values)
    if not missing.any() and spec.mask is None:
        return
    mask = spec.mask
    if mask is None or variable.fill is None:
        mask = np.ones(values.shape[-2:], bool)
    cells = max(int(mask.sum()), 1)
    share = (missing & mask).sum(axis=(-2, -1)) / cells
    if variable.fill is None and share.any():
        yield Finding(
            "error",
            "values",
            f"{variable.name}: {share.mean():.1%} of the values are missing",
            "fill them first; the model was trained without gaps",
        )
        return
    if (share > EMPTY_STEP).any():
        steps = int((share > EMPTY_STEP).any(axis=0).sum())
        yield Finding(
            "error",
            "values",
            f"{variable.name}: more than {EMPTY_STEP:.0%} of the model's cells have no value in {steps} of "
            f"{values.shape[1]} history steps",
            "choose starts with a full history, or fill the missing steps",
        )
        return
    if share.any():
        yield Finding(
            "warning",
            "mask",
            f"{variable.name}: {share.max():.1%} of the cells that had values in training are missing here; they are "
            f"filled ({variable.fill}) for the model and left missing in the forecast where they never have a value",
        )
    surplus = (~missing & ~mask).any(axis=(0, 1)).sum() / (~mask).sum() if (~mask).any() else 0.0
    if surplus > 0.02:
        yield Finding(
            "warning",
            "mask",
            f"{variable.name}: {surplus:.0%} of the cells without values in training (land) have values here; "
            "they are not used, and missing in the forecast",
        )


def _unusual(values: np.ndarray, variable: Variable) -> Iterator[Finding]:
    if np.isnan(values).all():
        return
    if np.nanmin(values) == np.nanmax(values):
        yield Finding("warning", "values", f"{variable.name}: the same value everywhere", "is the file complete?")
    if variable.statistics is None and variable.climatology is None:
        return
    mean, deviation = variable.statistics or (variable.offset, variable.scale)
    distance = np.nanmax(np.abs(np.nanmean(values, axis=(1, 2, 3)) - mean)) / deviation
    if distance > UNUSUAL:
        yield Finding(
            "warning",
            "values",
            f"{variable.name}: the mean of a history is {distance:.0f} training standard deviations "
            f"from the training mean {mean:.3g} {variable.units}",
            "is it the quantity the model was trained on?",
        )
