"""PreDiff's scores on SEVIR-LR."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xforecast.skill._pairs import Samples
from xforecast.skill.deterministic import mae, mse
from xforecast.skill.probabilistic import crps
from xforecast.skill.protocols._vil import Mode, images, published_scores

POOLS = (1, 4, 16)


def prediff(
    forecast: xr.DataArray | np.ndarray,
    observed: xr.DataArray | np.ndarray,
    *,
    mode: Mode = "0",
    layout: str = "SNTHWC",
    normalised: bool = True,
    samples: Samples = "mean",
) -> xr.Dataset:
    r"""CSI of pixels and of 4 x 4 and 16 x 16 squares, and CRPS, as PreDiff was evaluated on SEVIR-LR.

    The definitions are those of `sevir`. The CRPS is that of the empirical distribution,

    .. math:: \frac1M \sum_s |x_s - y| - \frac{1}{2 M^2} \sum_{s, s'} |x_s - x_{s'}|

    averaged over pixels on the scale 0 to 1; see `skill.crps` for the fair one.

    Parameters
    ----------
    forecast, observed : DataArray or ndarray
        Arrays with axes as in `layout` (without S where there is one sample), or labelled images.
    mode, normalised
        As for `sevir`.
    layout : str
        Axes of bare arrays: S samples, N sequences, T time, H height, W width, C channel.
    samples : {"mean", "each"}
        "mean" scores the mean of the samples, as the published CSI was made; "each" pools the counts of
        all.

    Returns
    -------
    Dataset
        Counts, `csi`, `pod`, `sucr`, `bias` and their means over thresholds by `pool` (1, 4, 16); `crps`,
        `mse` and `mae` of VIL / 255.

    References
    ----------
    Gao, Z. et al. (2023). PreDiff: precipitation nowcasting with latent diffusion models. NeurIPS 36, section 4.2.

    Examples
    --------
    >>> observed = np.random.default_rng(0).random((2, 6, 32, 32, 1), dtype=np.float32)
    >>> scores = prediff(np.stack([observed, observed]), observed)
    >>> scores.csi_mean.round(3).values, scores.crps.item()
    (array([1., 1., 1.]), 0.0)
    """
    forecast, observed = images(forecast, observed, layout)
    unit = [forecast, observed] if normalised else [x / 255 for x in (forecast, observed)]
    vil = [x * 255 for x in (forecast, observed)] if normalised else [forecast, observed]
    pooled = [published_scores(*vil, mode=mode, pool=pool, samples=samples) for pool in POOLS]
    scores = xr.concat(pooled, xr.DataArray(list(POOLS), dims="pool", name="pool", attrs={"units": "1"}))
    return scores.assign(crps=crps(*unit, fair=False), mse=mse(*unit, samples=samples), mae=mae(*unit, samples=samples))
