"""N-body MNIST: handwritten digits that attract one another and bounce off the walls of a box."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import dask.array as da
import numpy as np
import xarray as xr

from xforecast.datasets.folder import data_file
from xforecast.errors import DataFileError, InvalidOption

__all__ = ["NBody", "nbody_accelerations", "nbody_mnist", "nbody_trajectory"]

POWERS = {"r0": -1, "r1": -2, "r2": -3}
"""Power of the softened distance that the displacement is multiplied by, for each law of attraction."""
WALL = 10.0
"""How near the centre of a digit comes to a wall before it bounces, in pixels of the simulation."""
INK = 5 / 255
"""Brightness above which a pixel belongs to the digit. Of 255, so any ink counts: the published set has it so."""
CUBIC = -0.75
"""Parameter of the cubic kernel that reduces the frames (PyTorch's)."""
SAME_DRAWS = ("digit_indices", "affine_transforms_multipliers", "init_velocity_angle", "init_velocity_magnitude")
NEUTRAL_DRAWS = {
    "random_acceleration_magnitude": 0.0,
    "scale_variation": 1.0,
    "base_rotation_angle": 0.0,
    "appearance_mult": 1.0,
}
MNIST = "nbody/mnist_t10k.npz"


@dataclass(frozen=True)
class NBody:
    """The box, the digits and the law by which they move.

    Parameters
    ----------
    digits : int
        Number of digits in a sequence.
    frames : int
        Number of frames.
    size, simulation_size : int
        Side of the frames and of the box in which the digits move, in pixels.
    substeps : int
        Steps of the simulation from frame to frame.
    gravity : float
        Constant of attraction, in pixels of the simulation and steps.
    softening : float
        Length that softens the attraction of near digits, in pixels.
    law : {"r0", "r1", "r2"}
        How the attraction falls off with distance r: not at all, as 1/r, as 1/r**2.
    initial_speed : float
        Speeds begin uniform between 0 and this, in pixels per step.
    maximum_speed : float
        Limit of each component of the velocity, in pixels per step.

    Notes
    -----
    The defaults are those of the published set (Gao et al. 2022, Earthformer, section 4.1).
    """

    digits: int = 3
    frames: int = 20
    size: int = 64
    simulation_size: int = 128
    substeps: int = 5
    gravity: float = 0.05
    softening: float = 10.0
    law: str = "r0"
    initial_speed: float = 2.0
    maximum_speed: float = 2.0

    def __post_init__(self):
        if self.law not in POWERS:
            raise InvalidOption("law", self.law, f"one of {sorted(POWERS)}", 'law="r0", as published')
        for name in ("digits", "frames", "size", "simulation_size", "substeps"):
            if getattr(self, name) < 1:
                raise InvalidOption(
                    name, getattr(self, name), "1 or more", "leave it out: the defaults are those of the published set"
                )


# ------------------------------------------------------------------ motion


def nbody_accelerations(positions: np.ndarray, world: NBody | None = None) -> np.ndarray:
    """Acceleration of bodies of unit mass by their mutual attraction.

    Parameters
    ----------
    positions : numpy.ndarray
        Shape (..., body, 2), in pixels.
    world : NBody, optional
        Gives the constant, the softening and the law.

    Returns
    -------
    numpy.ndarray
        Shape of ``positions``, float64: the sum over j of ``G (p_j - p_i) rho**k`` with
        ``rho**2 = |p_j - p_i|**2 + softening**2`` and k = -1, -2, -3 for the laws r0, r1, r2.

    Examples
    --------
    >>> nbody_accelerations(np.array([[0.0, 0.0], [30.0, 40.0]]), NBody(gravity=1.0, softening=0.0))
    array([[ 0.6,  0.8],
           [-0.6, -0.8]])
    """
    world = world or NBody()
    positions = np.asarray(positions, float)
    towards = positions[..., None, :, :] - positions[..., :, None, :]
    squared = (towards**2).sum(-1) + world.softening**2
    with np.errstate(divide="ignore"):
        strength = np.where(squared > 0, squared ** (POWERS[world.law] / 2), 0.0)
    return world.gravity * (towards * strength[..., None]).sum(-2)


def nbody_trajectory(
    positions: np.ndarray, velocities: np.ndarray, sizes: np.ndarray, world: NBody | None = None
) -> np.ndarray:
    """Where the upper left corners of the digits are at each step of the simulation.

    Parameters
    ----------
    positions, velocities : numpy.ndarray
        At the start, shape (digit, 2) for x and y, in pixels and pixels per step.
    sizes : numpy.ndarray
        Widths and heights of the digits, shape (digit, 2).
    world : NBody, optional
        The box and the law.

    Returns
    -------
    numpy.ndarray
        Shape (frames * substeps, digit, 2), float32; the first is ``positions``.

    Notes
    -----
    The attraction is that of the corners, not of the centres, as published. A step adds the acceleration
    to the velocity, limits its components, moves, and reflects digits whose centre is within 10 pixels of
    a wall.

    Examples
    --------
    >>> alone = NBody(digits=1, frames=2, substeps=2)
    >>> nbody_trajectory(np.zeros((1, 2)) + 40, np.ones((1, 2)), np.full((1, 2), 20), alone)[:, 0, 0]
    array([40., 41., 42., 43.], dtype=float32)
    """
    world = world or NBody()
    position, velocity = np.array(positions, np.float32), np.array(velocities, np.float32)
    half = np.asarray(sizes, np.float32) / 2
    limit, low, high = np.float32(world.maximum_speed), np.float32(WALL), np.float32(world.simulation_size - WALL)
    steps = world.frames * world.substeps
    path = np.empty((steps, *position.shape), np.float32)
    for step in range(steps):
        path[step] = position
        velocity = velocity + nbody_accelerations(position, world).astype(np.float32)
        velocity = np.clip(velocity, -limit, limit)
        position = position + velocity
        centre = position + half
        out = (centre < low) | (centre > high)
        velocity = np.where(out, -velocity, velocity)
        position = np.where(out, np.clip(centre, low, high) - half, position)
    return path


# ------------------------------------------------------------------ pictures


def _crop(digit: np.ndarray) -> np.ndarray:
    """The part of a 28 x 28 picture that has ink."""
    rows, columns = np.flatnonzero((digit > INK).any(1)), np.flatnonzero((digit > INK).any(0))
    if not rows.size:
        return digit.astype(np.float32)
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)


def _shifted(crop: np.ndarray, corner: np.ndarray, size: int) -> np.ndarray:
    """The crop on a black square, its corner at (x, y), between pixels by bilinear weights."""
    left, top = (int(place) for place in np.floor(corner))
    share = corner.astype(float) - (left, top)
    weights = np.stack([1 - share, share], axis=1).astype(np.float32)
    height, width = crop.shape
    spread = np.zeros((height + 1, width + 1), np.float32)
    for row in (0, 1):
        for column in (0, 1):
            spread[row : row + height, column : column + width] += weights[1, row] * weights[0, column] * crop
    canvas = np.zeros((size, size), np.float32)
    rows, columns = slice(max(top, 0), min(top + height + 1, size)), slice(max(left, 0), min(left + width + 1, size))
    if rows.start < rows.stop and columns.start < columns.stop:
        canvas[rows, columns] = spread[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return canvas


def _reduction(size: int, full: int) -> np.ndarray:
    """The matrix (size, full) of cubic interpolation from ``full`` pixels to ``size``, edges repeated."""
    centre = (np.arange(size) + 0.5) * full / size - 0.5
    first = np.floor(centre).astype(int) - 1
    matrix = np.zeros((size, full))
    for tap in range(4):
        distance = np.abs(centre - (first + tap))
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        np.add.at(matrix, (np.arange(size), np.clip(first + tap, 0, full - 1)), np.where(distance <= 1, near, far))
    return matrix.astype(np.float32)


def _render(crops: Sequence[np.ndarray], path: np.ndarray, world: NBody) -> np.ndarray:
    """Frames (time, y, x) from 0 to 1 of digits along their paths (time, digit, 2)."""
    reduce = _reduction(world.size, world.simulation_size)
    frames = np.empty((len(path), world.size, world.size), np.float32)
    for step, corners in enumerate(path):
        pairs = zip(crops, corners, strict=True)
        full = np.max([_shifted(crop, corner, world.simulation_size) for crop, corner in pairs], axis=0)
        frames[step] = reduce @ full @ reduce.T
    return np.clip(frames, 0, 255) / 255


def _sequences(digits, indices, multipliers, angles, speeds, *, world: NBody) -> np.ndarray:
    """Frames (sequence, time, y, x) from the draws of some sequences."""
    out = np.empty((len(indices), world.frames, world.size, world.size), np.float32)
    for row in range(len(indices)):
        crops = [_crop(digits[index]) for index in indices[row]]
        sizes = np.array([crop.shape[::-1] for crop in crops])
        start = multipliers[row] * (world.simulation_size - sizes)
        velocity = speeds[row][:, None] * np.stack([np.cos(angles[row]), np.sin(angles[row])], axis=-1)
        path = nbody_trajectory(start, velocity, sizes, world)
        out[row] = _render(crops, path[:: world.substeps], world)
    return out


# ------------------------------------------------------------------ the reader


def nbody_mnist(
    sequences: int | None = None,
    digits: np.ndarray | None = None,
    *,
    seed: int = 0,
    world: NBody | None = None,
    draws: Mapping[str, np.ndarray] | str | os.PathLike | None = None,
) -> xr.Dataset:
    """Sequences of moving digits, made as they are asked for.

    Parameters
    ----------
    sequences : int, optional
        How many; 1000 by default, or all of ``draws``.
    digits : numpy.ndarray, optional
        Pictures of digits, shape (n, height, width), from 0 to 255. By default the MNIST test digits of
        the file ``nbody/mnist_t10k.npz`` in the folder that the environment variable XFORECAST_DATA names.
    seed : int
        Sequence k under a seed is always the same, however many are asked for.
    world : NBody, optional
        The box and the law; by default those of the published set.
    draws : mapping or path, optional
        The random draws of a published set, ``nbody_train.npz`` for example, in place of a seed. They
        refer to the MNIST training digits, which then have to be passed as ``digits``.

    Returns
    -------
    xarray.Dataset
        ``frames``, from 0 to 1, dims (sequence, time, y, x), lazy by sequence. The time stamps are
        nominal: a second from frame to frame.

    Raises
    ------
    DataFileError
        There are no digits, or the draws are not of that layout.

    Notes
    -----
    Gao et al. (2022), Earthformer, NeurIPS 35, section 4.1. MNIST: LeCun et al. (1998), CC BY-SA 3.0.

    Examples
    --------
    >>> squares = np.full((4, 12, 12), 255, np.uint8)
    >>> ds = nbody_mnist(3, squares, seed=1, world=NBody(digits=2, frames=4))
    >>> ds.frames.sizes["time"], bool((ds.frames.isel(sequence=2).compute() <= 1).all())
    (4, True)
    """
    world = world or NBody()
    digits = _digits(digits)
    if draws is None:
        chosen = _draw(1000 if sequences is None else sequences, len(digits), seed, world)
        origin = f"seed {seed}"
    else:
        chosen = _published(draws, len(digits), world, sequences)
        origin = "published draws"
    count = len(chosen[0])
    if count < 1:
        raise InvalidOption("sequences", sequences, "1 or more", "sequences=1000")
    pictures = da.from_array(digits, chunks=digits.shape)
    blocks = [da.from_array(draw, chunks=(1, *draw.shape[1:])) for draw in chosen]
    frames = da.blockwise(
        _sequences, "styx", pictures, "nhw", blocks[0], "sd", blocks[1], "sdv", blocks[2], "sd", blocks[3], "sd",
        new_axes={"t": world.frames, "y": world.size, "x": world.size}, concatenate=True,
        dtype=np.float32, meta=np.empty((0, 0, 0, 0), np.float32), world=world,
    )  # fmt: skip
    attrs = {"long_name": "Brightness", "units": "1", "valid_range": np.array([0.0, 1.0], np.float32)}
    nominal = np.datetime64("2000-01-01", "ns") + np.arange(world.frames) * np.timedelta64(1, "s")
    return xr.Dataset(
        {"frames": (("sequence", "time", "y", "x"), frames, attrs)},
        coords={
            "sequence": ("sequence", np.arange(count), {"long_name": "Sequence"}),
            "time": ("time", nominal, {"standard_name": "time", "axis": "T", "comment": "nominal, 1 s per frame"}),
            "y": ("y", np.arange(world.size), {"long_name": "Row", "units": "1", "axis": "Y"}),
            "x": ("x", np.arange(world.size), {"long_name": "Column", "units": "1", "axis": "X"}),
        },
        attrs={
            "Conventions": "CF-1.11",
            "title": "N-body MNIST",
            "source": f"{world}, {origin}",
            "references": "Gao et al. 2022, Earthformer, NeurIPS 35",
        },
    )


def _stored(file: Path, *names: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file."""
    try:
        with np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataFileError(f"{file}: cannot be read as .npz: {error}\n  -> is it there, and complete?") from error
    _check_names(arrays, names, str(file))
    return arrays


def _check_names(arrays: Mapping[str, np.ndarray], names: Sequence[str], source: str) -> None:
    if missing := [name for name in names if name not in arrays]:
        raise DataFileError(f"{source}: found {sorted(arrays)}, wanted also {missing}\n  -> is it the right file?")


def _digits(digits: np.ndarray | None) -> np.ndarray:
    if digits is None:
        file = data_file(MNIST, "the MNIST digits", "pass digits=, an array (n, 28, 28) from 0 to 255, or")
        digits = _stored(file, "images")["images"]
    digits = np.asarray(digits)
    if digits.ndim != 3 or not len(digits):
        raise InvalidOption(
            "digits", digits.shape, "an array of shape (n, height, width)", "digits=images[None] for a single picture"
        )
    return digits


def _draw(sequences: int, digits: int, seed: int, world: NBody) -> list[np.ndarray]:
    """Indices, places, angles and speeds; each sequence has a generator of its own."""
    drawn: list[list[np.ndarray]] = [[], [], [], []]
    for sequence in range(sequences):
        generator = np.random.default_rng([seed, sequence])
        drawn[0].append(generator.integers(digits, size=world.digits))
        drawn[1].append(generator.random((world.digits, 2)))
        drawn[2].append(generator.uniform(0, 2 * np.pi, world.digits))
        drawn[3].append(generator.uniform(0, world.initial_speed, world.digits))
    return [np.array(draw) for draw in drawn]


def _published(draws, digits: int, world: NBody, sequences: int | None) -> list[np.ndarray]:
    source = "draws"
    if isinstance(draws, str | os.PathLike):
        source, draws = str(draws), _stored(Path(draws))
    _check_names(draws, SAME_DRAWS, source)
    for name, neutral in NEUTRAL_DRAWS.items():
        if name in draws and not np.allclose(draws[name], neutral):
            raise DataFileError(
                f"{source}: found {name} other than {neutral:g}, which is not made here\n  -> choose a set without it"
            )
    chosen = [np.asarray(draws[name])[:sequences] for name in SAME_DRAWS]
    if chosen[0].max() >= digits:
        raise DataFileError(
            f"{source}: found digit {chosen[0].max()}, wanted one of the {digits} given\n"
            "  -> pass digits= of the set that the draws refer to (MNIST's training digits)"
        )
    if chosen[0].shape[1] != world.digits:
        raise InvalidOption(
            "world.digits",
            world.digits,
            f"{chosen[0].shape[1]}, as in the draws",
            f"world=NBody(digits={chosen[0].shape[1]})",
        )
    return chosen
