"""Forecasts small enough to draw many times."""

import numpy as np
import xarray as xr


def monthly(samples: int = 3, leads: int = 6) -> xr.DataArray:
    """Anomalies of sea surface temperature, dims (sample, lead, lat, lon)."""
    values = np.random.default_rng(0).normal(size=(samples, leads, 5, 8))
    return xr.DataArray(
        values,
        dims=("sample", "lead", "lat", "lon"),
        name="sst",
        coords={
            "lead": ("lead", np.arange(1, leads + 1), {"units": "months", "standard_name": "forecast_period"}),
            "valid_time": ("lead", xr.date_range("2020-02", periods=leads, freq="MS")),
            "init": np.datetime64("2020-01-01"),
            "lat": ("lat", np.arange(-10.0, 11.0, 5.0), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(180.0, 220.0, 5.0), {"units": "degrees_east"}),
        },
        attrs={
            "standard_name": "sea_surface_temperature_anomaly",
            "long_name": "Sea surface temperature anomaly",
            "units": "degC",
        },
    )


def nowcast(samples: int = 2, leads: int = 4) -> xr.DataArray:
    """Rain in mm/h every five minutes, dims (sample, lead, y, x)."""
    start = np.datetime64("2024-06-01T23:45", "ns")
    lead = np.arange(1, leads + 1) * np.timedelta64(5, "m").astype("timedelta64[ns]")
    values = np.random.default_rng(1).gamma(0.5, 4.0, size=(samples, leads, 6, 6))
    return xr.DataArray(
        values,
        dims=("sample", "lead", "y", "x"),
        name="rain",
        coords={
            "lead": lead,
            "valid_time": ("lead", start + lead),
            "init": start,
            "y": ("y", 1000.0 * np.arange(6)[::-1], {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": ("x", 1000.0 * np.arange(6), {"units": "m", "standard_name": "projection_x_coordinate"}),
        },
        attrs={"standard_name": "rainfall_rate", "long_name": "Rain rate", "units": "mm h-1"},
    )


def record(forecast: xr.DataArray) -> xr.DataArray:
    """What came: the first sample, over time."""
    truth = forecast.isel(sample=0).swap_dims(lead="valid_time").drop_vars(["lead", "init"])
    return truth.rename(valid_time="time")
