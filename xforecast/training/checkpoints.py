"""What a training leaves on disk: checkpoints that are complete or not there, and the curve of its loss."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn

from xforecast.errors import CheckpointError, TrainingError
from xforecast.training.loader import Prefetched
from xforecast.training.options import TrainingOptions

__all__ = ["Curve", "WholeFiles", "check_same_training", "identity"]

RECORD = "xforecast"
"""Key of the record of the training in a checkpoint."""
MAY_DIFFER = (
    "epochs", "steps", "patience", "precision", "activation_checkpointing", "devices", "strategy", "batch_size",
    "accumulate",
)  # fmt: skip
"""Options that another call may change and still go on; of the last three the product must stay the same."""


class WholeFiles(TorchCheckpointIO):
    """Checkpoints under a temporary name first: a full disk or a kill leaves the one before as it was."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write one; on failure there is no new file and no damaged one."""
        path = Path(path)
        unfinished = path.with_name(f"{path.name}.unfinished")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except (OSError, RuntimeError) as error:  # torch wraps what its writer meets
            unfinished.unlink(missing_ok=True)
            kept = f"; that of the last pass is complete in {path.parent}" if path.exists() else ""
            raise TrainingError(
                f"cannot write the checkpoint {path}: {error}{kept}\n"
                "  -> free space on the disk, then call again with resume=True"
            ) from error


class Curve(lightning.Callback):
    """The mean loss of each pass, a row of ``metrics.csv``, written before the checkpoint of that pass.

    Parameters
    ----------
    file : pathlib.Path
        The csv file. A resumed training goes on in it.
    valid : str
        Name of the loss on what is held out.
    batches : Prefetched
        Knows how long the loop has waited for it.
    """

    FIELDS = ("epoch", "step", "train_loss", "valid_loss", "waiting")

    def __init__(self, file: Path, valid: str, batches: Prefetched):
        self.file, self.valid, self.batches = file, valid, batches

    def on_train_start(self, trainer, pl_module):
        """Keep the rows of the passes that are not done again."""
        rows = []
        if trainer.global_step and self.file.exists():
            with self.file.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= trainer.global_step]
        if trainer.is_global_zero:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("w", newline="") as file:
                writer = csv.DictWriter(file, self.FIELDS)
                writer.writeheader()
                writer.writerows(rows)
        self._begin()

    def _begin(self) -> None:
        self.sum, self.windows = 0.0, 0
        self.began, self.waited_before = time.perf_counter(), self.batches.waited

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Add the loss of a batch."""
        self.sum += float(pl_module.last_loss) * len(batch[0])
        self.windows += len(batch[0])

    def on_validation_start(self, trainer, pl_module):
        """Validation is no part of the time in which the loop may wait."""
        self.training_took = time.perf_counter() - self.began

    def on_validation_end(self, trainer, pl_module):
        """A pass that is validated ends here."""
        self._write(trainer, trainer.callback_metrics.get(self.valid))

    def on_train_epoch_end(self, trainer, pl_module):
        """A pass that is not validated ends here."""
        if self.windows:
            self.training_took = time.perf_counter() - self.began
            self._write(trainer, None)

    def _write(self, trainer, valid) -> None:
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "train_loss": self.sum / max(self.windows, 1),
            "valid_loss": "" if valid is None else float(valid),
            "waiting": f"{(self.batches.waited - self.waited_before) / self.training_took:.4f}",
        }
        if trainer.is_global_zero:
            with self.file.open("a", newline="") as file:
                csv.DictWriter(file, self.FIELDS).writerow(row)
        self._begin()


def identity(
    model: nn.Module, windows: int, options: TrainingOptions, contract: str = "", about: str = ""
) -> dict[str, Any]:
    """What makes a training this one and no other: written into its checkpoints."""
    chosen = {name: value for name, value in options.to_dict().items() if name not in MAY_DIFFER}
    return {
        "model": " ".join(filter(None, [type(model).__name__, about])),
        "training windows": windows,
        "spec with the data's statistics": contract,
        "windows in a step": options.batch_size * options.accumulate * options.devices,
        **chosen,
    }


def check_same_training(file: Path, wanted: Mapping[str, Any], learner: nn.Module) -> None:
    """Refuse to go on from a checkpoint that is damaged or of another training.

    Parameters
    ----------
    file : pathlib.Path
        The checkpoint.
    wanted : mapping
        From `identity`.
    learner : torch.nn.Module
        Whose weights it must have.

    Raises
    ------
    CheckpointError
        With every difference.
    """
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        state = stored["state_dict"]
    except Exception as error:  # torch raises many types for a file that is not a checkpoint
        raise CheckpointError(
            f"{file} is damaged: {type(error).__name__}\n  -> remove it, or begin anew with resume=False"
        ) from error
    found = stored.get(RECORD, wanted)  # a file without a record is judged by its weights
    differences = [
        f"{name}: found {found.get(name)!r}, wanted {value!r}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    own = {name: tuple(value.shape) for name, value in learner.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in state.items()}
    if own != theirs:
        odd = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
        differences.append(f"weights: {len(odd)} of other names or shapes, such as {odd[0].removeprefix('model.')}")
    if differences:
        raise CheckpointError(
            f"{file} is of another training ({len(differences)} differences)\n  "
            + "\n  ".join(differences)
            + "\n  -> the data and options of that training, another folder, or resume=False"
        )
