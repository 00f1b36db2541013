"""The motion of a field, and fields in coordinates that move with it."""

from __future__ import annotations

import torch
from torch import nn

from xforecast.errors import InvalidOption

__all__ = ["displacements", "estimate_motion", "inside", "softened", "warp"]

SCALES = (8, 4, 2, 1)
"""Sides of the squares that are averaged, from coarse to fine."""
LEAST_SIZE = 8
"""Squares on a side that motion is still estimated from."""
ROUNDS = {"steady": 5, "local": 3}
"""Numbers of corrections at every scale: of one steady motion for all places, and of a local one for each place."""
REACH = 24.0
"""Cells over which the motion is taken as one: the standard deviation of a normal weight."""
WIDTHS = (4.0, 8.0, 16.0)
"""Cells over which what comes from beyond the edges is smoothed: standard deviations of normal weights, each twice the
one before."""
CAUTION = 0.3
"""Weight of the motion that is common to all places, in shares of the mean evidence of a place."""


def estimate_motion(frames: torch.Tensor) -> torch.Tensor:
    """Steady motion that explains a sequence best, from its gradients (Lucas and Kanade 1981), from coarse to fine.

    Where little is to be seen, it is near the motion that is common to all places. Values are expected to be of the
    order of one.

    Parameters
    ----------
    frames : Tensor, (batch, time, height, width)
        Two frames or more.

    Returns
    -------
    Tensor, (batch, 2, height, width)
        Cells per step along y and x.

    Examples
    --------
    >>> y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    >>> blobs = [torch.exp(-((y - 14) ** 2 + (x - 10 - 2 * step) ** 2) / 40) for step in range(3)]
    >>> [round(part) for part in estimate_motion(torch.stack(blobs)[None]).mean((2, 3))[0].tolist()]
    [0, 2]
    """
    if frames.ndim != 4 or frames.shape[1] < 2:
        wanted = "(batch, time, height, width) with two frames or more"
        raise InvalidOption("frames", tuple(frames.shape), wanted, "give a history of two steps or more")
    with torch.autocast(frames.device.type, enabled=False):
        return _from_coarse_to_fine(frames.float())


def _from_coarse_to_fine(frames: torch.Tensor) -> torch.Tensor:
    size = tuple(frames.shape[2:])
    scales = [scale for scale in SCALES if min(size) // scale >= LEAST_SIZE] or [1]
    motion, common = frames.new_zeros(len(frames), 2, *size), frames.new_zeros(len(frames), 2, 1, 1)
    for scale in scales:
        seen = nn.functional.avg_pool2d(frames, scale)
        fine = tuple(seen.shape[2:])
        for _ in range(ROUNDS["steady"]):
            steady = (common / scale).expand(-1, -1, *fine)
            evidence, pull = (part.mean((2, 3), keepdim=True) for part in _evidence(seen, steady))
            common = common + scale * _correction(evidence, pull)
        found = nn.functional.interpolate(motion / scale, fine, mode="bilinear", align_corners=False)
        for _ in range(ROUNDS["local"]):
            evidence, pull = (_smoothed(part, REACH / scale) for part in _evidence(seen, found))
            weight = CAUTION * evidence[:, :2].mean((1, 2, 3), keepdim=True)
            evidence = evidence + weight * evidence.new_tensor([1.0, 1.0, 0.0])[:, None, None]
            found = found + _correction(evidence, pull + weight * (found - common / scale))
        motion = scale * nn.functional.interpolate(found, size, mode="bilinear", align_corners=False)
    return motion


def _evidence(frames: torch.Tensor, motion: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over all frames, at each place, for least squares of what takes each frame to the next.

    Products of the slopes (yy, xx, yx), and of slopes and what the motion leaves unexplained (y, x), channels first.
    """
    before, after = frames[:, :-1], frames[:, 1:]
    there = motion[:, None].expand(-1, before.shape[1], -1, -1, -1)
    after = warp(after[..., None], there, mode="bilinear")[..., 0]
    y, x = (_slope((before + after) / 2, axis) for axis in (2, 3))
    error, within = after - before, inside(there)
    sums = [(within * product).sum(1) for product in (y * y, x * x, y * x, y * error, x * error)]
    return torch.stack(sums[:3], dim=1), torch.stack(sums[3:], dim=1)


def _correction(evidence: torch.Tensor, pull: torch.Tensor) -> torch.Tensor:
    """The step of least squares, at most a cell along each axis: gradients say nothing about larger steps."""
    yy, xx, yx = evidence.unbind(1)
    least = torch.finfo(evidence.dtype)
    yy, xx = yy + least.eps, xx + least.eps
    step = torch.stack([yx * pull[:, 1] - xx * pull[:, 0], yx * pull[:, 0] - yy * pull[:, 1]], dim=1)
    return (step / (yy * xx - yx**2).clamp(min=least.tiny)[:, None]).clamp(-1, 1)


def _slope(values: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.gradient(values, dim=axis)[0] if values.shape[axis] > 1 else torch.zeros_like(values)


def _smoothed(values: torch.Tensor, reach: float) -> torch.Tensor:
    """Means with normal weights along both axes; at the edges, means of the cells that there are."""
    height, width = values.shape[2:]
    rows, columns = (_weights(size, reach, values) for size in (height, width))
    return torch.einsum("ij,bcjk,lk->bcil", rows, values, columns)


def _weights(size: int, reach: float, like: torch.Tensor) -> torch.Tensor:
    place = torch.arange(size, device=like.device, dtype=like.dtype)
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * reach**2))
    return weights / weights.sum(1, keepdim=True)


# ------------------------------------------------------------------ going with it


def displacements(motion: torch.Tensor, steps: int) -> torch.Tensor:
    """Displacement of what is at each cell now, after 1, 2, ... steps, or before as many where `steps` is negative.

    Parameters
    ----------
    motion : Tensor, (batch, 2, height, width)
        What `estimate_motion` gave.
    steps : int
        Number of steps, ahead or, if negative, back.

    Returns
    -------
    Tensor, (batch, abs(steps), 2, height, width)
        Cells along y and x from the cell itself, for each step of the path.

    Examples
    --------
    >>> displacements(torch.ones(1, 2, 4, 4), -3)[0, :, 0, 0, 0].tolist()
    [-1.0, -2.0, -3.0]
    """
    sign = 1 if steps > 0 else -1
    path = [torch.zeros_like(motion)]
    for _ in range(abs(steps)):
        here = path[-1]
        halfway = here + sign / 2 * _sampled(motion, here)
        path.append(here + sign * _sampled(motion, halfway))
    return torch.stack(path[1:], dim=1) if steps else motion.new_zeros(len(motion), 0, *motion.shape[1:])


def _sampled(motion: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    moved = warp(motion.movedim(1, -1)[:, None], displacement[:, None], mode="bilinear", beyond="border")
    return moved[:, 0].movedim(-1, 1)


def warp(
    field: torch.Tensor, displacement: torch.Tensor, *, mode: str = "bicubic", beyond: str = "reflection"
) -> torch.Tensor:
    """Values of a field at displaced places; differentiable, and within the range of the field's own values.

    Parameters
    ----------
    field : Tensor, (batch, time, height, width, channel)
        What is moved.
    displacement : Tensor, (batch, time, 2, height, width)
        Cells along y and x: the result at a cell is the field's value that far from it.
    mode : {"bicubic", "bilinear"}
        How values between cells are found.
    beyond : {"reflection", "border"}
        What is taken for values beyond the edges: the field mirrored, or the values at the edges.

    Returns
    -------
    Tensor, (batch, time, height, width, channel)

    Examples
    --------
    >>> field = torch.arange(3.0).reshape(1, 1, 1, 3, 1)
    >>> warp(field, torch.stack([torch.zeros(1, 1, 1, 3), torch.ones(1, 1, 1, 3)], dim=2)).flatten().tolist()
    [1.0, 2.0, 1.0]
    """
    batch, time, height, width, channels = field.shape
    with torch.autocast(field.device.type, enabled=False):  # places need more than half precision
        values, displacement = field.float(), displacement.float()
        y, x = _places(displacement)
        places = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], dim=-1).flatten(0, 1)
        frames = values.flatten(0, 1).movedim(-1, 1)
        moved = nn.functional.grid_sample(frames, places, mode=mode, padding_mode=beyond, align_corners=True)
        moved = moved.movedim(1, -1).reshape(batch, time, height, width, channels)
        if mode == "bicubic":
            moved = moved.clamp(values.amin((2, 3), keepdim=True), values.amax((2, 3), keepdim=True))
    return moved.to(field.dtype)


def inside(displacement: torch.Tensor) -> torch.Tensor:
    """Whether displaced places are within the field, (batch, time, height, width)."""
    return _beyond(displacement) <= 0


def softened(moved: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """A field that `warp` has moved, smoothed where it comes from beyond the edges, the more so the farther.

    What comes from there is not known; mirrored detail would look as if it were.

    Parameters
    ----------
    moved : Tensor, (batch, time, height, width, channel)
        What `warp` gave.
    displacement : Tensor, (batch, time, 2, height, width)
        The displacement by which it was moved.

    Examples
    --------
    >>> field = torch.rand(1, 1, 8, 8, 1)
    >>> still, far = torch.zeros(1, 1, 2, 8, 8), torch.full((1, 1, 2, 8, 8), 32.0)
    >>> softened(field, still).equal(field), bool(softened(field, far).std() < 0.1 * field.std())
    (True, True)
    """
    width = _beyond(displacement).clamp(min=0) / 2
    if not bool((width > 0).any()):
        return moved
    frames = moved.float().movedim(-1, 2)
    first = WIDTHS[0]
    level = torch.where(width < first, width / first, 1 + (width.clamp(min=first) / first).log2())
    level = level.clamp(max=len(WIDTHS))[:, :, None]
    soft = (1 - level).clamp(min=0) * frames
    for number, reach in enumerate(WIDTHS, 1):
        smooth = _smoothed(frames.flatten(0, 1), reach).reshape(frames.shape)
        soft = soft + (1 - (level - number).abs()).clamp(min=0) * smooth
    return soft.movedim(2, -1).to(moved.dtype)


def _beyond(displacement: torch.Tensor) -> torch.Tensor:
    """How many cells displaced places are beyond the nearest edge, 0 or less within, (batch, time, height, width)."""
    height, width = displacement.shape[3:]
    y, x = _places(displacement)
    return torch.stack([-y, y - (height - 1), -x, x - (width - 1)]).amax(0)


def _places(displacement: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of displaced cells, (batch, time, height, width)."""
    height, width = displacement.shape[3:]
    y = torch.arange(height, device=displacement.device)[:, None] + displacement[:, :, 0]
    x = torch.arange(width, device=displacement.device) + displacement[:, :, 1]
    return y, x
