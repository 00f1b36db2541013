"""Cuboid patterns: how the attention layers of one block cut space-time, in order (Earthformer, sec. 3.2).

A pattern is a name for a function of the grid ``(time, height, width)``; the tables :data:`SELF_PATTERNS` and
:data:`CROSS_PATTERNS` hold them all. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xforecast.errors import InvalidOption
from xforecast.models.contract import Config, check_choice, check_positive

__all__ = [
    "CROSS_PATTERNS",
    "SELF_PATTERNS",
    "CrossCuboid",
    "Cuboid",
    "cross_cuboids",
    "cuboids_at_level",
    "self_cuboids",
]

Triple = tuple[int, int, int]
Pair = tuple[int, int]
Strategy = Literal["local", "dilated"]
Strategies = tuple[Strategy, Strategy, Strategy]

LOCAL: Strategies = ("local", "local", "local")
DILATED: Strategies = ("dilated", "dilated", "dilated")


@dataclass(frozen=True)
class Cuboid(Config):
    """How one self-attention layer cuts the grid into cuboids (Earthformer, sec. 3.1).

    Parameters
    ----------
    size : (int, int, int)
        Tokens of one cuboid in time, height and width.
    strategy : three of ``"local"`` and ``"dilated"``
        Along each axis a cuboid takes neighbouring tokens, or tokens at equal distances over all of the axis.
    shift : (int, int, int)
        Local cuboids start this many tokens later; the remainder wraps around but does not attend across the seam.

    Examples
    --------
    >>> Cuboid((4, 8, 8), shift=(2, 4, 4)).fitted((2, 16, 16))
    Cuboid(size=(2, 8, 8), strategy=('local', 'local', 'local'), shift=(0, 4, 4))
    """

    size: Triple
    strategy: Strategies = LOCAL
    shift: Triple = (0, 0, 0)

    def validate(self) -> None:
        _check_cuboid(self.size, self.strategy, self.shift, axes=3)

    def fitted(self, grid: Triple) -> Cuboid:
        """The cuboid as used on `grid`: no larger than it, and not shifted where it spans or is dilated."""
        spans = [extent <= size for extent, size in zip(grid, self.size, strict=True)]
        size = tuple(min(extent, size) for extent, size in zip(grid, self.size, strict=True))
        shift = tuple(
            0 if full or strategy == "dilated" else shift
            for full, strategy, shift in zip(spans, self.strategy, self.shift, strict=True)
        )
        return Cuboid(size, self.strategy, shift)  # type: ignore[arg-type]


@dataclass(frozen=True)
class CrossCuboid(Config):
    """How one cross-attention layer pairs cuboids of the forecast with cuboids of the memory.

    Parameters
    ----------
    size : (int, int)
        Tokens of one cuboid in height and width.
    strategy : three of ``"local"`` and ``"dilated"``
        The same strategies as those of a :class:`Cuboid`.
    shift : (int, int)
        Shift in height and width.
    temporal_chunks : int
        Forecast and memory are each cut into this many pieces in time; piece k attends to piece k.
    last_frames : int, optional
        Attend to the last frames of the memory only.

    Examples
    --------
    >>> CrossCuboid((1, 1))
    CrossCuboid(size=(1, 1), strategy=('local', 'local', 'local'), shift=(0, 0), temporal_chunks=1, last_frames=None)
    """

    size: Pair
    strategy: Strategies = LOCAL
    shift: Pair = (0, 0)
    temporal_chunks: int = 1
    last_frames: int | None = None

    def validate(self) -> None:
        _check_cuboid(self.size, self.strategy, self.shift, axes=2)
        check_positive("temporal_chunks", self.temporal_chunks)
        if self.last_frames is not None:
            check_positive("last_frames", self.last_frames)


def _check_cuboid(size: tuple, strategy: tuple, shift: tuple, axes: int) -> None:
    if len(size) != axes or len(shift) != axes or len(strategy) != 3:
        raise InvalidOption(
            "cuboid",
            (size, strategy, shift),
            f"{axes} sizes, 3 strategies and {axes} shifts, one for each axis",
            "Cuboid((2, 4, 4))" if axes == 3 else "CrossCuboid((4, 4))",
        )
    check_positive("cuboid.size", *size)
    check_positive("cuboid.shift", *shift, least=0)
    for name in strategy:
        check_choice("cuboid.strategy", name, ("local", "dilated"))


def _full(t: int, h: int, w: int) -> list[Cuboid]:
    return [Cuboid((t, h, w))]


def _axial(t: int, h: int, w: int) -> list[Cuboid]:
    return [Cuboid((t, 1, 1)), Cuboid((1, h, 1)), Cuboid((1, 1, w))]


def _divided(t: int, h: int, w: int) -> list[Cuboid]:
    return [Cuboid((t, 1, 1)), Cuboid((1, h, w))]


def _shifted_windows(frames: int, window: int) -> Callable[[int, int, int], list[Cuboid]]:
    def pattern(t: int, h: int, w: int) -> list[Cuboid]:
        p, m = min(frames, t), min(window, h, w)
        return [Cuboid((p, m, m)), Cuboid((p, m, m), shift=(p // 2, m // 2, m // 2))]

    return pattern


def _local_and_dilated(window: int) -> Callable[[int, int, int], list[Cuboid]]:
    def pattern(t: int, h: int, w: int) -> list[Cuboid]:
        if h <= window and w <= window:
            return _divided(t, h, w)
        space = (1, window, window)
        return [Cuboid((t, 1, 1)), Cuboid(space), Cuboid(space, DILATED)]

    return pattern


def _axial_dilated(parts: int) -> Callable[[int, int, int], list[Cuboid]]:
    def pattern(t: int, h: int, w: int) -> list[Cuboid]:
        k = min(parts, h, w)
        rows, columns = (1, h // k, 1), (1, 1, w // k)
        return [Cuboid((t, 1, 1))] + [
            Cuboid(size, strategy) for size in (rows, columns) for strategy in (DILATED, LOCAL)
        ]

    return pattern


SELF_PATTERNS: dict[str, Callable[[int, int, int], list[Cuboid]]] = {
    "full": _full,
    "axial": _axial,
    "divided_st": _divided,
    "video_swin": _shifted_windows(2, 4),
    **{f"video_swin_{p}x{m}": _shifted_windows(p, m) for p in (1, 2, 4, 8, 10) for m in (1, 2, 4, 8, 16, 32)},
    "spatial_lg_v1": _local_and_dilated(4),
    **{f"spatial_lg_{m}": _local_and_dilated(m) for m in (1, 2, 4, 8, 16, 32)},
    **{f"axial_space_dilate_{k}": _axial_dilated(k) for k in (2, 4, 8)},
}
"""Self-attention patterns: name -> function of (time, height, width) that gives the cuboids in order."""


def _windows(size: int, *kinds: str) -> Callable[[int, int, int], list[CrossCuboid]]:
    def pattern(t: int, h: int, w: int) -> list[CrossCuboid]:
        k = min(size, h, w)
        made = {
            "local": CrossCuboid((k, k)),
            "dilated": CrossCuboid((k, k), DILATED),
            "shifted": CrossCuboid((k, k), shift=(k // 2, k // 2)),
        }
        return [made[kind] for kind in kinds]

    return pattern


def _last_frame(t: int, h: int, w: int) -> list[CrossCuboid]:
    return [CrossCuboid((h, w), last_frames=1)]


CROSS_PATTERNS: dict[str, Callable[[int, int, int], list[CrossCuboid]]] = {
    **{f"cross_{k}x{k}": _windows(k, "local") for k in (1, 2, 4, 8)},
    **{f"cross_{k}x{k}_lg": _windows(k, "local", "dilated") for k in (1, 2, 4, 8)},
    **{f"cross_{k}x{k}_heter": _windows(k, "local", "dilated", "shifted") for k in (1, 2, 4, 8)},
    "last_frame_dst": _last_frame,
}
"""Cross-attention patterns: name -> function of (time, height, width) that gives the cuboids in order."""


def self_cuboids(pattern: str, grid: Triple) -> tuple[Cuboid, ...]:
    """Cuboids of a self-attention pattern on `grid`.

    Parameters
    ----------
    pattern : str
        A name in :data:`SELF_PATTERNS`.
    grid : (int, int, int)
        Time, height and width.

    Examples
    --------
    >>> [cuboid.size for cuboid in self_cuboids("axial", (13, 32, 48))]
    [(13, 1, 1), (1, 32, 1), (1, 1, 48)]
    """
    check_choice("self-attention pattern", pattern, SELF_PATTERNS)
    return tuple(SELF_PATTERNS[pattern](*grid))


def cross_cuboids(pattern: str, grid: Triple) -> tuple[CrossCuboid, ...]:
    """Cuboids of a cross-attention pattern on `grid`.

    Parameters
    ----------
    pattern : str
        A name in :data:`CROSS_PATTERNS`.
    grid : (int, int, int)
        Time, height and width of the memory.

    Examples
    --------
    >>> [(c.size, c.strategy[1], c.shift) for c in cross_cuboids("cross_4x4_heter", (12, 32, 32))]
    [((4, 4), 'local', (0, 0)), ((4, 4), 'dilated', (0, 0)), ((4, 4), 'local', (2, 2))]
    """
    check_choice("cross-attention pattern", pattern, CROSS_PATTERNS)
    return tuple(CROSS_PATTERNS[pattern](*grid))


def cuboids_at_level(
    option: str,
    value: str | tuple[Any, ...],
    level: int,
    grids: Sequence[Triple],
    named: Callable[[str, Triple], tuple[Any, ...]] = self_cuboids,
) -> tuple[Any, ...]:
    """Cuboids of one level from what a configuration says of all.

    Parameters
    ----------
    option : str
        Name of the option, for the message.
    value : str, tuple of cuboids, or tuple with one of these for each level
        What the configuration has for the option.
    level : int
        The level, counted from the finest.
    grids : sequence of (int, int, int)
        Time, height and width of every level.
    named : callable
        :func:`self_cuboids` or :func:`cross_cuboids`.

    Raises
    ------
    InvalidOption
        If there are several entries and not one for each level.

    Examples
    --------
    >>> grids = [(2, 8, 8), (2, 4, 4)]
    >>> cuboids_at_level("cuboids", ("axial", "full"), 1, grids)[0].size
    (2, 4, 4)
    """
    for_all = isinstance(value, str) or (value and isinstance(value[0], Cuboid | CrossCuboid))
    if not for_all and len(value) != len(grids):
        wanted = f"one entry for all levels or one for each of {len(grids)}"
        raise InvalidOption(option, value, wanted, f"leave {option.rpartition('.')[2]}= out, or give {len(grids)}")
    entry = value if for_all else value[level]
    return named(entry, grids[level]) if isinstance(entry, str) else entry
