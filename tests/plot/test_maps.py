"""Maps: what stands where, in which colours, and what is refused.

Also guards `coast.py` and `fields.py` and `style.py`.
"""

import sys

import cartopy
import matplotlib.pyplot as plt
import numpy as np
import pyproj
import pytest
import shapefile
import xarray as xr
from drawable import monthly, nowcast, record
from PIL import Image

from xforecast import datasets, plot, skill
from xforecast.errors import InvalidOption
from xforecast.plot import style


def shown(figure) -> list:
    """The maps of a figure, without the colour bar."""
    return [axis for axis in figure.axes if axis.get_visible() and axis.get_label() != "<colorbar>"]


def values(axis) -> np.ndarray:
    return axis.images[0].get_array().filled(np.nan)


def bar(figure):
    return next(axis for axis in figure.axes if axis.get_label() == "<colorbar>")


def test_rows_are_observed_mean_and_samples_and_columns_leads():
    fc = monthly()
    figure = plot.maps(fc, leads=[1, 3], observed=record(fc), samples=2)
    maps = shown(figure)
    assert [maps[k].get_ylabel() for k in range(0, 8, 2)] == ["observed", "mean", "sample 0", "sample 1"]
    assert [axis.get_title() for axis in maps[:2]] == ["1 month ahead\nFeb 2020", "3 months ahead\nApr 2020"]
    for axis, wanted in zip(
        maps,
        [fc[0, 0], fc[0, 2], fc[:, 0].mean("sample"), fc[:, 2].mean("sample"), fc[0, 0], fc[0, 2], fc[1, 0], fc[1, 2]],
        strict=True,
    ):
        np.testing.assert_allclose(values(axis), wanted)


def test_observations_may_be_a_dataset_and_have_another_name():
    fc = monthly()
    ds = record(fc).to_dataset(name="analysis")
    for observed in (ds, ds.rename(analysis="sst").assign(other=record(fc) + 9)):
        np.testing.assert_allclose(values(shown(plot.maps(fc, leads=[1], observed=observed))[0]), fc[0, 0])


def test_what_is_said_comes_from_the_attributes():
    figure = plot.maps(monthly())
    assert figure.get_suptitle() == "Sea surface temperature anomaly: forecast from data to Jan 2020"
    assert bar(figure).get_ylabel().replace("\n", " ") == "Sea surface temperature anomaly (°C)"
    rain = plot.maps(nowcast(), leads=["5min", "15min", "20min"])
    assert rain.get_suptitle() == "Rain rate: forecast from data to 2024-06-01 23:45"
    titles = ["+5 min\n23:50", "+15 min\n02 Jun 00:00", "+20 min\n02 Jun 00:05"]
    assert [axis.get_title() for axis in shown(rain)] == titles
    window = nowcast().assign_coords(lead=nowcast().lead - np.timedelta64(10, "m"))
    past = plot.maps(window)
    assert [axis.get_title().split("\n")[0] for axis in shown(past)] == [
        "\N{MINUS SIGN}5 min",
        "+0 min",
        "+5 min",
        "+10 min",
    ]
    assert past.get_suptitle() == "Rain rate: before and after 2024-06-01 23:45"
    assert plot.maps(nowcast(), title="Mine").get_suptitle() == "Mine"


def test_a_map_does_not_depend_on_orientation_order_or_chunks():
    fc = nowcast()
    first = values(shown(plot.maps(fc, leads=["5min"]))[0])
    for same in (fc.sortby("y"), fc.isel(x=slice(None, None, -1)), fc.transpose(), fc.chunk(lead=1), fc.to_dataset()):
        np.testing.assert_allclose(values(shown(plot.maps(same, leads=["5min"]))[0]), first)


def test_dimensions_are_found_by_their_attributes():
    fc = nowcast().rename(sample="member", lead="step", init="start")
    fc = fc.assign_coords(member=("member", [0, 1], {"standard_name": "realization"}))
    fc["start"].attrs["standard_name"] = "forecast_reference_time"
    figure = plot.maps(fc, samples=1)
    assert len(shown(figure)) == 2 * 4
    assert figure.get_suptitle().endswith("2024-06-01 23:45")


def test_leads_are_spread_evenly_and_the_last_is_there():
    titles = [axis.get_title() for axis in shown(plot.maps(monthly(leads=18)))]
    assert len(titles) == 4
    assert titles[0].endswith("1 month ahead")
    assert titles[-1].endswith("18 months ahead")


def test_a_future_that_nobody_has_seen_takes_no_row():
    fc = monthly()
    past = record(fc).assign_coords(time=xr.date_range("2019-01", periods=6, freq="MS"))
    assert len(shown(plot.maps(fc, leads=[1, 2], observed=past))) == 2


def test_a_record_is_drawn_by_its_dates():
    figure = plot.maps(record(nowcast()), leads=["2024-06-01 23:50", "2024-06-02 00:05"])
    assert [axis.get_title() for axis in shown(figure)] == ["2024-06-01 23:50", "2024-06-02 00:05"]
    assert figure.get_suptitle() == "Rain rate"
    months = record(monthly())
    titles = ["Feb 2020", "Apr 2020", "May 2020", "Jul 2020"]
    assert [axis.get_title() for axis in shown(plot.maps(months))] == titles
    nominal = months.assign_coords(time=months.time.convert_calendar("noleap", use_cftime=True).time)
    assert [axis.get_title() for axis in shown(plot.maps(nominal))] == titles
    with pytest.raises(InvalidOption, match=r"leads: found \['2020-02-02"):
        plot.maps(months, leads=["2020-02-02"])


def test_uneven_coordinates_are_drawn_where_they_are():
    fc = monthly().assign_coords(lat=[-10.0, -6.0, 0.0, 1.0, 10.0])
    axis = shown(plot.maps(fc, leads=[1]))[0]
    assert not axis.images
    mesh = axis.collections[0]
    assert mesh.get_array().shape == (5, 8)
    assert axis.get_ylim() == (-12.0, 14.5)


# ------------------------------------------------------------------ colours


def norm_of(figure):
    return shown(figure)[0].images[0].norm


def test_vil_has_the_breaks_and_colours_of_sevir_in_both_units():
    code = (100 * nowcast()).clip(0, 255).rename("vil").assign_attrs(units="1", standard_name="")
    figure = plot.maps(code)
    assert norm_of(figure).boundaries.tolist() == [0, 16, 31, 59, 74, 100, 133, 160, 181, 219, 255]
    image = shown(figure)[0].images[0]
    assert image.to_rgba(240.0)[:3] == pytest.approx((0xE7 / 255, 0, 1))
    mass = plot.maps(datasets.vil_from_vil_code(code))
    colours = shown(mass)[0].images[0].to_rgba(datasets.vil_from_vil_code(xr.DataArray([70.0, 120.0, 200.0])).values)
    np.testing.assert_allclose(colours, image.to_rgba(np.array([70.0, 120.0, 200.0])))


def test_rain_is_drawn_in_millimetres_per_hour_whatever_its_unit():
    fc = nowcast()
    figure = plot.maps(fc, leads=["5min"])
    assert norm_of(figure).boundaries[[0, -1]].tolist() == [0.1, 100.0]
    flux = (fc / 3600).assign_attrs(fc.attrs, units="kg m-2 s-1", standard_name="rainfall_flux")
    again = plot.maps(flux, leads=["5min"])
    np.testing.assert_allclose(values(shown(again)[0]), values(shown(figure)[0]), rtol=1e-5)
    assert bar(again).get_ylabel() == "Rain rate (mm/h)"


def test_anomalies_are_symmetric_about_zero():
    boundaries = norm_of(plot.maps(monthly() + 1.0)).boundaries
    np.testing.assert_allclose(boundaries, -boundaries[::-1])
    assert 0.0 in boundaries


@pytest.mark.parametrize(
    ("name", "attrs", "colours"),
    [
        ("sst", {"standard_name": "sea_surface_temperature", "units": "K"}, "RdYlBu_r"),
        ("tos", {}, "RdYlBu_r"),
        ("x", {"standard_name": "equivalent_reflectivity_factor", "units": "dBZ"}, "ChaseSpectral"),
        ("rain_rate", {"units": "kg"}, "viridis"),
        ("exceedance_probability", {"units": "1"}, "PuBu"),
        ("frames", {"units": "1"}, "gray"),
        ("vil", {"standard_name": "air_temperature", "units": "1"}, "viridis"),
    ],
)
def test_the_scale_follows_names_and_units(name, attrs, colours):
    assert style.scale_of(xr.DataArray(0.0, name=name, attrs=attrs)).colours == colours


def test_reflectivity_has_the_colours_of_cmweather_where_it_is_installed(monkeypatch):
    fc = datasets.reflectivity_from_rain_rate(nowcast())
    assert norm_of(plot.maps(fc)).boundaries[[0, -1]].tolist() == [5.0, 65.0]
    with_it = shown(plot.maps(fc))[0].images[0].to_rgba(40.0)
    monkeypatch.setattr(style, "find_spec", lambda name: None)
    without = shown(plot.maps(fc))[0].images[0].to_rgba(40.0)
    assert with_it != without


def test_probabilities_go_from_nought_to_one():
    figure = plot.maps(skill.exceedance_probability(nowcast(), 1.0))
    assert norm_of(figure).boundaries[[0, -1]].tolist() == [0.0, 1.0]


def test_fields_without_values_or_variation_can_be_drawn():
    for field in (monthly() * np.nan, monthly() * 0):
        plot.maps(field).canvas.draw()


# ------------------------------------------------------------------ coastlines


@pytest.fixture
def coast(tmp_path, monkeypatch):
    """A folder as cartopy keeps it, with one line: 175E to 175W along 1N."""
    folder = tmp_path / "shapefiles" / "natural_earth" / "physical"
    folder.mkdir(parents=True)
    with shapefile.Writer(str(folder / "ne_110m_coastline")) as writer:
        writer.field("name")
        writer.line([[[-178.0, 1.0], [-150.0, 1.0]], [[20.0, 60.0], [30.0, 60.0]]])
        writer.record("equator")
    for key in ("pre_existing_data_dir", "data_dir", "repo_data_dir"):
        monkeypatch.setitem(cartopy.config, key, tmp_path)


def lines(axis) -> list[np.ndarray]:
    return [part for c in axis.collections if c.get_label() == "coastlines" for part in c.get_segments()]


@pytest.mark.usefixtures("coast")
def test_coastlines_are_drawn_in_the_longitudes_of_the_map():
    axis = shown(plot.maps(monthly(), leads=[1]))[0]
    limits = axis.get_xlim()
    np.testing.assert_allclose(lines(axis)[0], [[182.0, 1.0], [210.0, 1.0]])
    assert limits == axis.get_xlim() == (177.5, 217.5)
    west = monthly().assign_coords(lon=monthly().lon - 360)
    np.testing.assert_allclose(lines(shown(plot.maps(west, leads=[1]))[0])[0], [[-178.0, 1.0], [-150.0, 1.0]])
    assert not lines(shown(plot.maps(monthly(), leads=[1], coastlines=False))[0])


@pytest.mark.usefixtures("coast")
def test_coastlines_are_projected_with_the_grid_mapping():
    crs = pyproj.CRS.from_proj4("+proj=laea +lat_0=60 +lon_0=25 +R=6371000")
    fc = nowcast().assign_coords(
        y=("y", np.linspace(-3e5, 3e5, 6), {"units": "m", "standard_name": "projection_y_coordinate"}),
        x=("x", np.linspace(-3e5, 3e5, 6), {"units": "m", "standard_name": "projection_x_coordinate"}),
    )
    ds = fc.assign_attrs(grid_mapping="crs").to_dataset().assign(crs=((), 0, crs.to_cf()))
    drawn = lines(shown(plot.maps(ds, leads=["5min"]))[0])
    assert len(drawn) == 1
    assert drawn[0][:, 0].tolist() == pytest.approx([-278_000, 278_000], rel=0.01)


def test_without_cartopy_or_its_shapes_there_are_maps_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cartopy", None)
    assert len(shown(plot.maps(monthly()))) == 4
    monkeypatch.undo()
    for key in ("pre_existing_data_dir", "data_dir", "repo_data_dir"):
        monkeypatch.setitem(cartopy.config, key, tmp_path)
    assert not lines(shown(plot.maps(monthly()))[0])
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ what is refused


def test_wrong_input_is_told():
    fc = monthly()
    elsewhere = record(fc).drop_vars("lat").rename(lat="site")
    for wrong, words in (
        ({"forecast": fc.isel(lead=0)}, "lead dimension"),
        ({"forecast": xr.concat([fc, fc], "init")}, r"forecast.isel\(init=0\)"),
        ({"forecast": fc.isel(lat=0)}, "two of a map"),
        ({"forecast": fc.expand_dims(height=3)}, r"isel\(height=0\)"),
        ({"forecast": fc, "leads": [40]}, "'40'"),
        ({"forecast": nowcast(), "leads": ["7min"]}, "0 days 00:05:00"),
        ({"forecast": fc.to_dataset(), "variable": "t2m"}, r"one of \['sst'\]"),
        ({"forecast": fc.to_dataset().assign(other=fc)}, "2 variables"),
        ({"forecast": fc, "variable": "t2m"}, "one variable already"),
        ({"forecast": fc.values}, "xarray"),
        ({"forecast": fc, "samples": -1}, "0 or more"),
        ({"forecast": fc, "observed": elsewhere}, "observed: .*wanted time, lat, lon"),
    ):
        with pytest.raises(InvalidOption, match=words):
            plot.maps(**wrong)
    assert len(shown(plot.maps(fc.to_dataset().assign(other=fc), variable="other"))) == 4


# ------------------------------------------------------------------ in motion


def test_an_animation_has_a_frame_for_each_lead(tmp_path):
    fc = nowcast()
    before = plt.get_fignums()
    plot.animate(fc, tmp_path / "rain.gif", observed=record(fc), samples=1)
    with Image.open(tmp_path / "rain.gif") as gif:
        assert gif.n_frames == fc.sizes["lead"]
        assert gif.info["duration"] == 250
    assert plt.get_fignums() == before


def test_the_frames_of_an_animation_are_the_leads(tmp_path):
    fc = nowcast()
    moving = plot.animate(fc, leads=["10min", "20min"], samples=2)
    maps = shown(moving._fig)
    assert [axis.get_title() for axis in maps] == ["mean", "sample 0", "sample 1"]
    for frame, lead in enumerate((1, 3)):
        moving._draw_frame(frame)
        np.testing.assert_allclose(values(maps[2]), fc[1, lead].sortby("y"))
        assert moving._fig.get_suptitle().endswith(["23:55, +10 min", "02 Jun 00:05, +20 min"][frame])
    moving.save(str(tmp_path / "again.gif"), writer="pillow")


def test_only_gifs_are_written(tmp_path):
    with pytest.raises(InvalidOption, match=r"\.gif"):
        plot.animate(nowcast(), tmp_path / "rain.mp4")
    with pytest.raises(InvalidOption, match="more than 0"):
        plot.animate(nowcast(), tmp_path / "rain.gif", frames_per_second=0)
