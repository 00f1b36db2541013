"""The list of models is read from cards, and prints whole sentences."""

from __future__ import annotations

import torch

import xforecast as xf
from xforecast.forecaster import IN_PACKAGE


def test_no_network_is_built(cache, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda *_: (_ for _ in ()).throw(AssertionError("a network")))
    assert set(IN_PACKAGE) <= set(xf.list_models().index)


def test_it_prints_every_word(cache):
    table = xf.list_models()
    text, page = " ".join(repr(table).split()), table._repr_html_()
    for name, row in table.iterrows():
        assert name in text
        assert name in page
        for column in ("title", "where", "trained on", "licence"):
            assert " ".join(row[column].split()) in text
    assert "..." not in text.replace(" ...", "")


def test_parts_of_it_are_tables_of_pandas(cache):
    table = xf.list_models()
    assert table["where"]["earthformer-enso"] == "in the package"
    assert table.loc["earthformer-enso", "forecasts"] == "sst"
    assert "Forecasts" not in repr(table[["title", "where"]])
