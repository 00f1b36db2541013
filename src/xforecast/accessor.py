"""The accessor ``.earthformer`` on Dataset and DataArray: doors to the functions, holding nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    from xforecast.forecaster import Forecaster
    from xforecast.report import Report

__all__ = ["EarthformerAccessor"]


@xr.register_dataset_accessor("earthformer")
@xr.register_dataarray_accessor("earthformer")
class EarthformerAccessor:
    """Forecast from, check and train on these data.

    Examples
    --------
    >>> import xarray as xr, xforecast
    >>> bool(xr.Dataset().earthformer.check("earthformer-enso"))
    False
    """

    def __init__(self, obj: xr.Dataset | xr.DataArray):
        self._obj = obj

    def forecast(self, model=None, **options: Any) -> xr.Dataset:
        """A labelled forecast; see `xforecast.forecast`."""
        from xforecast.registry import forecast

        return forecast(self._obj, model, **options)

    def check(self, model=None, **options: Any) -> Report:
        """What a forecaster would say of these data; see `xforecast.check`."""
        from xforecast.registry import check

        return check(self._obj, model, **options)

    def fit(self, model, **options: Any) -> Forecaster:
        """A forecaster trained on these data; see `xforecast.fit`."""
        from xforecast.training import fit

        return fit(self._obj, model, **options)
