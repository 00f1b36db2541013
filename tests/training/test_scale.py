"""Training that is long, large or interrupted: the same numbers as without.

Also guards `checkpoints.py` and `loader.py` and `loop.py`.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from trained import drifting, small

import xforecast as xf
from xforecast.errors import CheckpointError, InvalidOption, TrainingError
from xforecast.training.loader import Prefetched, Shares, Shuffled

PROGRAM = Path(__file__).with_name("trained.py")
QUICK = {"history": 4, "horizon": 2, "device": "cpu", "progress": False, "valid": None}


def fitted(folder, dropout: float = 0.0, **options):
    return xf.fit(drifting(), small(dropout), folder=folder, **QUICK | options)


def curve(folder: Path) -> list[dict[str, float]]:
    """The rows of the log, without what depends on the machine."""
    with (folder / "member-0" / "log" / "metrics.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if name != "waiting" and value}
            for row in csv.DictReader(file)
        ]


def same_curve(found: list, wanted: list, rtol: float = 1e-6) -> None:
    assert [sorted(row) for row in found] == [sorted(row) for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(list(one.values()), [other[name] for name in one], rtol=rtol)


def same_weights(found, wanted, **tolerance) -> None:
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, **tolerance)


def program(folder: Path, **options) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for inherited in ("LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_PORT", "MASTER_ADDR"):
        environment.pop(inherited, None)
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), json.dumps(options)], env=environment, stderr=subprocess.PIPE
    )


# ------------------------------------------------------------------ larger batches


def test_passes_accumulated_are_a_larger_batch(tmp_path):
    options = {"epochs": 2, "learning_rate": 0.01}
    whole = fitted(tmp_path / "whole", batch_size=8, **options)
    parts = fitted(tmp_path / "parts", batch_size=2, accumulate=4, **options)
    same_weights(parts.model.state_dict(), whole.model.state_dict(), rtol=1e-4, atol=1e-5)
    same_curve(curve(tmp_path / "parts"), curve(tmp_path / "whole"), rtol=1e-4)


def test_activations_computed_again_change_no_number():
    plain, again = (fitted(None, epochs=1, dropout=0.1, activation_checkpointing=wanted) for wanted in (False, True))
    same_weights(again.model.state_dict(), plain.model.state_dict())
    assert {getattr(module, "checkpoint", "none") for module in again.model.modules()} == {"none"}


def test_a_model_without_such_layers_says_so():
    with pytest.raises(InvalidOption, match="accumulate"):
        xf.fit(drifting(), "ConvLSTM", **QUICK, epochs=1, activation_checkpointing=True)


def test_half_precision_is_near_and_leaves_single_weights():
    exact = fitted(None, epochs=2)
    rough = fitted(None, epochs=2, precision="bfloat16")
    assert {value.dtype for value in rough.model.parameters()} == {torch.float32}
    assert rough.digest != exact.digest
    same_weights(rough.model.state_dict(), exact.model.state_dict(), rtol=0.0, atol=0.02)


@pytest.mark.slow
def test_two_processes_are_one_with_their_global_batch(tmp_path):
    options = {"epochs": 2, "valid": 0.2, "learning_rate": 0.01, "average": 0.5}
    both = program(tmp_path / "both", devices=2, batch_size=4, **options)
    assert both.wait(300) == 0, both.stderr.read().decode()
    alone = fitted(tmp_path / "alone", batch_size=8, **options)
    first, second = (torch.load(tmp_path / "both" / f"weights-{rank}.pt") for rank in (0, 1))
    same_weights(second, first, rtol=0.0, atol=0.0)
    same_weights(first, alone.model.state_dict(), rtol=1e-3, atol=1e-4)
    same_curve(curve(tmp_path / "both"), curve(tmp_path / "alone"), rtol=1e-3)


@pytest.mark.parametrize("windows", [1, 8, 11])
def test_every_global_batch_is_divided_evenly(windows):
    data = list(range(windows))
    alone = list(Shuffled(data, lambda: (0, 1), 3, lambda: 2))
    shares = [Shuffled(data, lambda rank=rank: (rank, 2), 3, lambda: 2) for rank in (0, 1)]
    assert sorted(alone) == data
    assert len(shares[0]) == len(shares[1]) == len(list(shares[0])) == len(list(shares[1]))
    together = [index for pair in zip(*shares, strict=True) for index in pair]
    assert together[:windows] == alone
    assert set(together) == set(data)
    assert list(Shares(data, lambda: (0, 1))) == data


# ------------------------------------------------------------------ interrupted


def test_a_killed_training_goes_on_as_if_nothing_had_been(tmp_path):
    options = {"epochs": 6, "batch_size": 4, "valid": 0.2, "average": 0.9, "dropout": 0.1}
    killed = program(tmp_path / "killed", pause=0.1, **options)
    log = tmp_path / "killed" / "member-0" / "log" / "metrics.csv"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and killed.poll() is None:
        if log.exists() and len(log.read_text().splitlines()) > 3:
            break
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, killed.stderr.read().decode()
    before = curve(tmp_path / "killed")
    assert 2 < len(before) < 6
    resumed = fitted(tmp_path / "killed", resume=True, **options)
    whole = fitted(tmp_path / "whole", **options)
    same_curve(curve(tmp_path / "killed"), curve(tmp_path / "whole"))
    same_weights(resumed.model.state_dict(), whole.model.state_dict())


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch):
    options = {"epochs": 3, "batch_size": 8, "dropout": 0.1}
    write = torch.save
    written = []

    def on_a_small_disk(checkpoint, file):
        written.append(checkpoint)
        if len(written) > 2:  # best and last of the first pass
            file.write(b"half a checkpoint")
            raise OSError(28, "No space left on device")
        write(checkpoint, file)

    monkeypatch.setattr("xforecast.training.checkpoints.torch.save", on_a_small_disk)
    with pytest.raises(TrainingError, match=r"No space left.*\n.*resume=True"):
        fitted(tmp_path / "full", **options)
    monkeypatch.undo()
    left = [file.name for file in (tmp_path / "full" / "member-0").iterdir() if file.is_file()]
    assert sorted(left) == ["best.ckpt", "last.ckpt"]
    resumed = fitted(tmp_path / "full", resume=True, **options)
    whole = fitted(tmp_path / "whole", **options)
    same_weights(resumed.model.state_dict(), whole.model.state_dict())


# ------------------------------------------------------------------ what is in the folder


def test_checkpoints_of_another_training_are_refused(tmp_path):
    fitted(tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match=r"learning_rate: found 0.001, wanted 0.01(.|\n)*resume=False"):
        fitted(tmp_path, epochs=1, resume=True, learning_rate=0.01)
    with pytest.raises(CheckpointError, match=r"model: found 'Earthformer', wanted 'ConvLSTM'(.|\n)*weights"):
        xf.fit(drifting(), "ConvLSTM", folder=tmp_path, **QUICK, epochs=1, resume=True)
    with pytest.raises(CheckpointError, match="spec with the data's statistics"):
        xf.fit(50 * drifting(), small(), folder=tmp_path, **QUICK, epochs=1, resume=True)
    with pytest.raises(CheckpointError, match="training windows: found 32, wanted 31"):
        xf.fit(drifting(36), small(), folder=tmp_path, **QUICK, epochs=1, resume=True)


def test_damaged_checkpoints_are_told(tmp_path):
    fitted(tmp_path, epochs=1)
    file = tmp_path / "member-0" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        fitted(tmp_path, epochs=1, resume=True)


def test_a_longer_training_may_go_on_from_a_shorter(tmp_path):
    fitted(tmp_path, epochs=1)
    fitted(tmp_path, epochs=3, resume=True)
    assert [row["epoch"] for row in curve(tmp_path)] == [0, 1, 2]


# ------------------------------------------------------------------ batches


def test_prefetched_batches_are_the_loader_s():
    loader = torch.utils.data.DataLoader(torch.arange(10), 3)
    ahead = Prefetched(loader)
    assert [batch.tolist() for batch in ahead] == [batch.tolist() for batch in loader]
    assert len(ahead) == 4
    assert ahead.waited > 0


def test_an_error_in_the_thread_is_raised_where_the_batch_is_asked_for():
    class Torn(torch.utils.data.Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            if index == 5:
                raise OSError("the file ends")
            return torch.zeros(())

    batches = iter(Prefetched(torch.utils.data.DataLoader(Torn(), 2)))
    assert len(next(batches)) == len(next(batches)) == 2
    with pytest.raises(OSError, match="the file ends"):
        next(batches)


def test_batches_that_nobody_asks_for_any_more_are_dropped():
    import threading

    batches = iter(Prefetched(torch.utils.data.DataLoader(torch.arange(1000), 1)))
    next(batches)
    batches.close()
    assert "xforecast-batches" not in [thread.name for thread in threading.enumerate()]


# ------------------------------------------------------------------ little data


def test_one_window_is_enough_and_none_is_told(tmp_path):
    made = xf.fit(drifting(6), small(), **QUICK, epochs=2, folder=tmp_path)
    assert made.forecast(drifting(6)).z.sizes["lead"] == 2
    assert len(curve(tmp_path)) == 2
    with pytest.raises(TrainingError, match="a longer record"):
        xf.fit(drifting(6), small(), **QUICK | {"valid": 0.3}, epochs=2)
