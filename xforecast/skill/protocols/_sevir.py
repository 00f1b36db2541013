"""Earthformer's scores on SEVIR."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xforecast.skill._pairs import Samples
from xforecast.skill.deterministic import mae, mse
from xforecast.skill.protocols._vil import Mode, images, published_scores

SCALE = np.float32(1 / 255)
"""By which the papers multiply VIL, and divide on the way back: with 255 instead, some 219s become 218.99998."""


def sevir(
    forecast: xr.DataArray | np.ndarray,
    observed: xr.DataArray | np.ndarray,
    *,
    mode: Mode = "0",
    pool: int = 1,
    layout: str = "NTHWC",
    normalised: bool = True,
    samples: Samples = "mean",
) -> xr.Dataset:
    r"""CSI, POD, success ratio and "bias" on SEVIR at the six thresholds, as in Earthformer's evaluation.

    At VIL of 16, 74, 133, 160, 181 and 219 with hits H, misses M, false alarms F and :math:`\epsilon =
    10^{-4}`,

    .. math:: \mathrm{CSI} = \frac{H}{H + M + F + \epsilon}, \quad
              \mathrm{POD} = \frac{H}{H + M + \epsilon}, \quad
              \mathrm{SUCR} = \frac{H}{H + F + \epsilon}, \quad
              \mathrm{bias} = \left( \frac{H + F}{(H + M + \epsilon) \ln 2} \right)^2

    so that no events score 0, and the bias of a perfect forecast is 2.08: both as published. Pixels with
    NaN are left out. The paper's CSI-M is `csi_mean` in mode "0".

    Parameters
    ----------
    forecast, observed : DataArray or ndarray
        Arrays with axes as in `layout`, or labelled images with `lead` (or `time`).
    mode : {"0", "1", "2"}
        "0": counts over everything. "1": scores for every lead. "2": those averaged over leads.
    pool : int
        Compare the greatest values in squares of so many pixels.
    layout : str
        Axes of bare arrays: N sequences, T time, H height, W width, C channel.
    normalised : bool
        Values are VIL / 255, as the models see them; False for 0 to 255.
    samples : {"mean", "each"}
        What is scored of an ensemble.

    Returns
    -------
    Dataset
        `hits`, `misses`, `false_alarms` (integers), `csi`, `pod`, `sucr` and `bias` by `threshold` (and
        lead), their means over thresholds `csi_mean` and so on, and `mse` and `mae` of VIL / 255.

    References
    ----------
    Gao, Z. et al. (2022). Earthformer: exploring space-time transformers for Earth system forecasting. NeurIPS
    35, section 4.2.

    Examples
    --------
    >>> observed = np.random.default_rng(0).random((2, 5, 16, 16, 1), dtype=np.float32)
    >>> scores = sevir(observed, observed)
    >>> scores.csi_mean.round(3).item(), scores.bias_mean.round(2).item()
    (1.0, 2.08)
    """
    forecast, observed = images(forecast, observed, layout)
    unit = [forecast, observed] if normalised else [x * SCALE for x in (forecast, observed)]
    vil = [x / SCALE for x in (forecast, observed)] if normalised else [forecast, observed]
    scores = published_scores(*vil, mode=mode, pool=pool, samples=samples)
    return scores.assign(mse=mse(*unit, samples=samples), mae=mae(*unit, samples=samples))
