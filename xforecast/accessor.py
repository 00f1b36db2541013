"""The accessor ``.earthformer`` on Dataset and DataArray: doors to the functions, holding nothing."""

from __future__ import annotations

from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    from xforecast.forecaster import Forecaster
    from xforecast.labels.report import Report

__all__ = ["EarthformerAccessor", "Pictures"]


class Pictures:
    """The functions of `xforecast.plot`, with these data as their first argument.

    Examples
    --------
    >>> import xarray as xr, xforecast
    >>> "maps" in dir(xr.DataArray(0.0).earthformer.plot)
    True
    """

    def __init__(self, obj: xr.Dataset | xr.DataArray):
        self._obj = obj

    def __dir__(self) -> list[str]:
        from xforecast import plot

        return dir(plot)

    def __getattr__(self, name: str) -> Any:
        from xforecast import plot

        if name not in dir(plot):
            raise AttributeError(f"no picture {name!r}; there are {', '.join(dir(plot))}")
        function = getattr(plot, name)
        return update_wrapper(partial(function, self._obj), function)


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
        from xforecast.forecaster.registry import forecast

        return forecast(self._obj, model, **options)

    def check(self, model=None, **options: Any) -> Report:
        """What a forecaster would say of these data; see `xforecast.check`."""
        from xforecast.forecaster.registry import check

        return check(self._obj, model, **options)

    @property
    def plot(self) -> Pictures:
        """Pictures, such as ``.plot.maps()`` of a forecast; see `xforecast.plot`."""
        return Pictures(self._obj)

    def fit(self, model, **options: Any) -> Forecaster:
        """A forecaster trained on these data; see `xforecast.fit`."""
        from xforecast.training import fit

        return fit(self._obj, model, **options)
