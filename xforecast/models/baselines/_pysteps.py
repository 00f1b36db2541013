"""Every call of pySTEPS, with arrays in and arrays out.

pySTEPS is imported when it is first needed, and what it prints is dropped. Its version 2 takes and returns labelled
Datasets: `xforecast.errors.require` refuses it until these functions translate for it, and nothing else has to change
then.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from xforecast.errors import require

__all__ = ["extrapolate", "motion", "prepare", "steps"]


def prepare() -> None:
    """Import what the functions below call.

    Raises
    ------
    MissingExtra
        pySTEPS is not installed, or in a version that takes no arrays.
    """
    _part("motion.lucaskanade")


def motion(decibels: np.ndarray) -> np.ndarray:
    """Motion in pixels a step, (2, height, width), from frames (time, height, width) of rain in dB."""
    lucaskanade = _part("motion.lucaskanade")
    with _silent():
        return lucaskanade.dense_lucaskanade(decibels)


def extrapolate(field: np.ndarray, velocity: np.ndarray, horizon: int) -> np.ndarray:
    """A field (height, width) carried along a motion, (horizon, height, width); NaN where nothing is carried to."""
    return _part("extrapolation.semilagrangian").extrapolate(field, velocity, horizon)


def steps(
    decibels: np.ndarray,
    velocity: np.ndarray,
    horizon: int,
    *,
    threshold: float,
    levels: int,
    kilometres: float,
    minutes: float,
    seed: int,
) -> np.ndarray:
    """One sample of STEPS in dB, (horizon, height, width), from frames in dB and their motion.

    Parameters
    ----------
    decibels : numpy.ndarray
        Newest frames, (time, height, width).
    velocity : numpy.ndarray
        What `motion` gives.
    horizon : int
        Number of time steps to forecast.
    threshold : float
        Level in dB below which there is no rain.
    levels : int
        Number of scales into which the field is taken apart.
    kilometres, minutes : float
        Size of a pixel and time step.
    seed : int
        Seed of the noise.
    """
    nowcast = _part("nowcasts.steps")
    with _silent():
        return nowcast.forecast(
            decibels,
            velocity,
            horizon,
            n_ens_members=1,
            n_cascade_levels=levels,
            precip_thr=threshold,
            norain_thr=0.0,
            kmperpixel=kilometres,
            timestep=minutes,
            seed=seed,
        )[0]


def _part(name: str) -> Any:
    """A module of pySTEPS, which leaves its parts to be imported one by one."""
    with _silent():  # on import it prints where its configuration lies
        require("pysteps", extra="pysteps", purpose="extrapolation and STEPS")
        return require(f"pysteps.{name}", extra="pysteps", purpose="extrapolation and STEPS")


def _silent() -> contextlib.redirect_stdout:
    return contextlib.redirect_stdout(io.StringIO())
