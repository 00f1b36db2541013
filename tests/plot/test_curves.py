"""Curves, diagrams and heat maps of scores, the plume, and the accessor's door to all of them.

Also guards `probability.py` and `seasons.py` and `series.py`.
"""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from drawable import monthly, nowcast, record

import xforecast
from xforecast import plot, skill
from xforecast.errors import InvalidOption


def by_lead(values=(0.9, 0.7, 0.4)) -> xr.DataArray:
    lead = ("lead", np.arange(1, len(values) + 1), {"units": "months"})
    attrs = {"long_name": "correlation", "units": "1"}
    return xr.DataArray(list(values), dims="lead", coords={"lead": lead}, attrs=attrs, name="correlation")


def interval(score: xr.DataArray) -> xr.Dataset:
    ends = {"lower": score - 0.1, "upper": score + 0.1}
    ends["lower"].attrs["long_name"] = "lower end of the 95% interval"
    return xr.Dataset({"estimate": score, **ends})


def words(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


# ------------------------------------------------------------------ by lead and threshold


def test_skill_by_lead_draws_a_curve_a_system_and_its_interval():
    axis = plot.skill_by_lead({"ours": interval(by_lead()), "theirs": by_lead((0.8, 0.5, 0.1))}, title="ENSO")
    assert words(axis) == ["ours", "theirs", "95% interval"]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("Lead (months)", "Correlation", "ENSO")
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [0.9, 0.7, 0.4])
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.3, 1.0))


def test_what_bootstrap_gives_can_be_drawn():
    rng = np.random.default_rng(0)
    observed = xr.DataArray(rng.normal(size=(40, 3)), dims=("init", "lead"), coords={"lead": [1, 2, 3]})
    scores = skill.bootstrap(skill.rmse, observed + rng.normal(size=(40, 3)), observed, dim="init", resamples=20)
    axis = plot.skill_by_lead(scores)
    assert axis.get_ylabel() == "Root-mean-square error"
    assert axis.get_legend() is None
    assert len(axis.collections) >= 1


def test_leads_of_minutes_are_told_in_minutes_and_long_ones_in_hours():
    score = by_lead().assign_coords(lead=np.array([5, 10, 15], "timedelta64[m]").astype("timedelta64[ns]"))
    axis = plot.skill_by_lead(score)
    assert axis.get_xlabel() == "Lead (minutes)"
    assert axis.lines[0].get_xdata().tolist() == [5, 10, 15]
    score = score.assign_coords(lead=score.lead * 60)
    assert plot.skill_by_lead(score).get_xlabel() == "Lead (hours)"


def test_csi_by_threshold_stands_at_even_distances():
    fc = nowcast()
    scores = {
        "mean": skill.csi(fc, record(fc), [0.1, 1, 10]),
        "sample 0": skill.csi(fc[0], record(fc), [0.1, 1, 10]),
    }
    axis = plot.skill_by_threshold(scores)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0.1", "1", "10"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("Threshold (mm/h)", "Critical success index")
    assert axis.lines[0].get_xdata().tolist() == [0, 1, 2]
    assert axis.lines[1].get_ydata().tolist() == [1.0, 1.0, 1.0]
    assert axis.get_ylim()[0] == 0.0
    assert words(axis) == ["mean", "sample 0"]


def test_a_dataset_of_scores_is_a_curve_each():
    axis = plot.skill_by_lead(xr.Dataset({"a": by_lead(), "b": by_lead()}))
    assert words(axis) == ["a", "b"]


def test_scores_that_are_no_curve_are_refused():
    other = by_lead().expand_dims(sample=2)
    csi = xr.DataArray([0.5, 0.4], [("threshold", [1.0, 5.0])])
    for draw, scores, said in (
        (plot.skill_by_lead, {"a": other}, "lead alone"),
        (plot.skill_by_lead, {}, "scores by name"),
        (plot.skill_by_lead, {"a": csi}, "lead alone"),
        (plot.skill_by_lead, {"a": xr.Dataset({"x": by_lead()})}, "skill.bootstrap"),
        (plot.skill_by_threshold, {"a": by_lead()}, "threshold alone"),
        (plot.skill_by_threshold, {"a": csi, "b": csi.assign_coords(threshold=[1.0, 6.0])}, r"b: \[1\. 6\.\]"),
    ):
        with pytest.raises(InvalidOption, match=said):
            draw(scores)


# ------------------------------------------------------------------ probabilities


def ensemble():
    rng = np.random.default_rng(3)
    forecast = xr.DataArray(rng.normal(size=(400, 5)), dims=("x", "sample"), attrs={"units": "degC"})
    return forecast, xr.DataArray(rng.normal(size=400), dims="x")


def test_the_reliability_diagram_shows_frequencies_and_cases():
    diagram = skill.reliability(*ensemble(), 0.0)
    axis = plot.reliability_diagram(diagram, title="Warm")
    some = diagram.cases.values > 0
    curve = axis.lines[0]
    np.testing.assert_allclose(curve.get_xdata(), diagram.mean_forecast.values[some])
    np.testing.assert_allclose(curve.get_ydata(), diagram.observed_frequency.values[some])
    assert axis.get_xlim() == axis.get_ylim() == (0, 1)
    assert words(axis) == ["reliable", "frequency over all cases"]
    (strip,) = axis.child_axes
    np.testing.assert_allclose(strip.patches[0].get_data().values, diagram.cases)
    assert strip.get_title() == "Warm"


def test_thresholds_are_a_curve_each():
    axis = plot.reliability_diagram(skill.reliability(*ensemble(), [0.0, 1.0]))
    assert words(axis)[:2] == ["≥ 0 °C", "≥ 1 °C"]
    axis = plot.roc_curve({"ours": skill.roc(*ensemble(), [0.0, 1.0])})
    assert words(axis)[0].startswith("ours, ≥ 0 °C, area 0.")


def test_the_roc_curve_runs_from_corner_to_corner():
    curve = skill.roc(*ensemble(), 0.0)
    axis = plot.roc_curve(curve)
    assert axis.lines[0].get_xdata()[[0, -1]].tolist() == [1.0, 0.0]
    assert words(axis) == [f"area {float(curve.area):.2f}", "no skill"]


def test_the_rank_histogram_is_relative():
    axis = plot.rank_diagram(skill.rank_histogram(*ensemble()), title="Ranks")
    assert len(axis.patches) == 6
    assert sum(patch.get_height() for patch in axis.patches) == pytest.approx(1.0)
    assert axis.lines[0].get_ydata()[0] == pytest.approx(1 / 6)
    assert words(axis) == ["reliable ensemble"]


def test_other_things_than_diagrams_are_refused():
    forecast, observed = ensemble()
    for draw, thing in (
        (plot.reliability_diagram, skill.roc(forecast, observed, 0.0)),
        (plot.reliability_diagram, forecast),
        (plot.reliability_diagram, skill.reliability(forecast, observed, 0.0).expand_dims(lead=2)),
        (plot.roc_curve, {"a": skill.reliability(forecast, observed, 0.0)}),
        (plot.rank_diagram, forecast),
        (plot.season_by_lead, by_lead()),
    ):
        with pytest.raises(InvalidOption, match="wanted"):
            draw(thing)


# ------------------------------------------------------------------ El Nino


def test_the_heat_map_has_seasons_down_and_leads_across():
    months = xr.date_range("1980-01", periods=400, freq="MS")
    index = xr.DataArray(np.random.default_rng(0).normal(size=400).cumsum() / 10, coords={"time": months})
    lead = xr.DataArray([1, 2, 3, 4], dims="lead", attrs={"units": "months"})
    persistence = index[:380].rename(time="init").expand_dims(lead=lead)
    correlation = skill.nino34_correlation(persistence, index, seasons="each")
    axis = plot.season_by_lead(correlation, title="Persistence")
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert (labels[0], labels[6], len(labels)) == ("DJF", "JJA", 12)
    np.testing.assert_allclose(axis.collections[0].get_array(), correlation.transpose("season", "lead"))
    assert axis.get_ylim() == (11.5, -0.5)
    assert axis.get_xlim() == (0.5, 3.5)
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("Lead (months)", "Target season")
    colour_bar = axis.figure.axes[-1]
    assert colour_bar.get_ylabel() == "Correlation of the 3-month mean Nino3.4 index"


def test_the_plume_starts_from_the_last_observed_point():
    index = monthly().mean(["lat", "lon"]).rename("nino34")
    past = xr.DataArray(np.arange(12.0), coords={"time": xr.date_range("2019-02", periods=12, freq="MS")})
    axis = plot.plume(index, past - 5, threshold=0.5, error=xr.ones_like(index[0]), months=6)
    assert axis.get_ylabel() == "Nino3.4 anomaly (°C)"
    assert words(axis) == ["observed", "90 % of past errors", "samples", "forecast mean"]
    mean = next(line for line in axis.lines if line.get_label() == "forecast mean")
    np.testing.assert_allclose(mean.get_ydata(), [6.0, *index.mean("sample")])
    assert axis.lines[0].get_xdata().size == 6


def test_the_plume_of_temperatures_is_that_of_their_anomalies():
    time = xr.date_range("2000-01", periods=240, freq="MS")
    lat, lon = [-5.0, 0.0, 5.0], np.arange(190.0, 241.0, 5.0)
    cycle = xr.DataArray(27 + np.cos(np.arange(12) / 2), coords={"month": np.arange(1, 13)}, dims="month")
    sst = cycle.sel(month=xr.DataArray(time.month, dims="time")).drop_vars("month")
    sst = sst.expand_dims(lat=lat, lon=lon).assign_coords(time=time)
    sst = sst.rename("sst").assign_attrs(units="degC", standard_name="sea_surface_temperature")
    fc = sst.isel(time=slice(120, 126)).rename(time="lead").drop_vars("lead") + 0.7
    fc = fc.assign_coords(
        lead=("lead", np.arange(1, 7), {"units": "months"}), valid_time=("lead", time[120:126]), init=time[119]
    )
    axis = plot.plume(fc.to_dataset(name="sst"), sst.to_dataset())
    mean = next(line for line in axis.lines if line.get_label() == "forecast mean")
    np.testing.assert_allclose(mean.get_ydata(), [0.0] + [0.7] * 6, atol=1e-6)
    with pytest.raises(InvalidOption, match="pass observed="):
        plot.plume(fc)


# ------------------------------------------------------------------ the door


def test_the_accessor_has_every_picture_and_holds_nothing():
    fc = monthly()
    pictures = fc.earthformer.plot
    assert vars(pictures) == {"_obj": fc} or pictures._obj is fc
    assert dir(pictures) == dir(plot)
    assert pictures.maps.__doc__ == plot.maps.__doc__
    assert len(pictures.maps(leads=[1, 2]).axes) == 3
    assert xr.Dataset({"sst": fc}).earthformer.plot.maps(leads=[1]).get_suptitle()
    assert by_lead().earthformer.plot.skill_by_lead().get_ylabel() == "Correlation"
    with pytest.raises(AttributeError, match="no picture 'globe'; there are animate, maps"):
        pictures.globe  # noqa: B018


def test_pictures_can_be_drawn_onto_axes_that_are_there():
    figure, axes = plt.subplots(2, 3)
    draws = (
        lambda ax: plot.skill_by_lead(by_lead(), ax=ax),
        lambda ax: plot.skill_by_threshold(xr.DataArray([0.5], [("threshold", [1.0])]), ax=ax),
        lambda ax: plot.reliability_diagram(skill.reliability(*ensemble(), 0.0), ax=ax),
        lambda ax: plot.rank_diagram(skill.rank_histogram(*ensemble()), ax=ax),
        lambda ax: plot.roc_curve(skill.roc(*ensemble(), 0.0), ax=ax),
        lambda ax: plot.plume(monthly().mean(["lat", "lon"]), ax=ax),
    )
    for draw, axis in zip(draws, axes.flat, strict=True):
        assert draw(axis) is axis
    assert plt.get_fignums() == [figure.number]
    assert xforecast.plot is plot
