"""The training loop, on Lightning: any model that owns its loss."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from xforecast.errors import TrainingError
from xforecast.models.diffusion import warming_average
from xforecast.training.options import TrainingOptions, decay_groups, learning_rate_factor

__all__ = ["train"]

VALID = "valid_loss"
PREVIEWS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the training after which a preview is written."""


class _Learner(lightning.LightningModule):
    """A model, its loss weights and its optimiser."""

    def __init__(self, model: nn.Module, weight: torch.Tensor, options: TrainingOptions, total: int, each: int):
        super().__init__()
        self.model, self.options, self.total, self.steps_each = model, options, total, each
        self.register_buffer("weight", weight, persistent=False)

    def _loss(self, batch) -> torch.Tensor:
        x, y = batch
        return self.model.loss(x, y, cast(torch.Tensor, self.weight) * y.isfinite())  # type: ignore[operator]

    def passes(self) -> int:
        """Passes over the data so far, counted in steps, which a checkpoint restores exactly."""
        return self.global_step // self.steps_each

    def on_train_epoch_start(self):
        # Dropout of each pass from a seed of its own: a resumed training goes on as an unbroken one would.
        torch.manual_seed(_epoch_seed(self.options.seed, self.passes()))

    def training_step(self, batch, index):
        if hasattr(self.model, "at_step"):
            self.model.at_step(self.global_step, self.total)  # type: ignore[operator]
        loss = self._loss(batch)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.global_step}\n"
                f"  -> a smaller learning_rate (now {self.options.learning_rate:g}), or check the data for outliers"
            )
        self.log("train_loss", loss, on_epoch=True, on_step=True, batch_size=len(batch[0]))
        return loss

    def on_validation_start(self):
        # A loss that draws at random draws the same each time, so that validations can be compared.
        torch.manual_seed(self.options.seed)

    def validation_step(self, batch, index):
        self.log(VALID, self._loss(batch), prog_bar=True, batch_size=len(batch[0]))

    def configure_optimizers(self):
        options = self.options
        optimizer = torch.optim.AdamW(decay_groups(self.model, options.weight_decay), lr=options.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, self.total, options.warmup, options.final_learning_rate)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Previews(lightning.Callback):
    """Now and then, what the model makes of a pair, in an npz file in the log folder."""

    def __init__(self, model: nn.Module, folder: Path, data: Dataset, steps: int):
        self.model, self.folder, self.data = model, folder, data
        self.due = {round(steps * share) for share in PREVIEWS}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step not in self.due or self.file(trainer.global_step).exists():
            return
        x, y = (part[None].to(pl_module.device) for part in self.data[0])
        random = torch.random.get_rng_state()
        pl_module.eval()
        made = self.model.preview(x, y)  # type: ignore[operator]
        pl_module.train()
        torch.random.set_rng_state(random)
        self.folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            self.file(trainer.global_step), **{name: value[0].float().cpu().numpy() for name, value in made.items()}
        )

    def file(self, step: int) -> Path:
        """Where the preview of a step is."""
        return self.folder / f"preview-{step:06d}.npz"


class _Shuffled(Sampler):
    """Another order of the data in each pass, known from the seed and the number of the pass alone."""

    def __init__(self, count: int, seed: int, passes: Callable[[], int]):
        self.count, self.seed, self.passes = count, seed, passes

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        order = torch.Generator().manual_seed(_epoch_seed(self.seed, self.passes()))
        return iter(torch.randperm(self.count, generator=order).tolist())


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([abs(seed), epoch]).generate_state(1)[0])


def train(
    model: nn.Module,
    data: Dataset,
    valid: Dataset | None,
    weight: torch.Tensor,
    options: TrainingOptions,
    *,
    folder: Path,
    device: str = "auto",
    resume: bool = False,
    progress: bool | None = None,
) -> nn.Module:
    """Train a model in place and leave it with its best weights.

    Parameters
    ----------
    model : torch.nn.Module
        Owns ``loss(x, y, weight)``. One that has ``preview(x, y)`` shows what it makes of a pair now and then.
    data, valid : torch.utils.data.Dataset
        Pairs (x, y); without ``valid`` the last weights are kept.
    weight : torch.Tensor
        Broadcasts against y; missing values of y count nothing.
    options : TrainingOptions
        Length, optimiser, schedule, stopping.
    folder : pathlib.Path
        For checkpoints and the log of losses.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    resume : bool
        Go on from the last checkpoint in ``folder``.
    progress : bool, optional
        Draw a bar.

    Returns
    -------
    torch.nn.Module
        The model, in evaluation mode, on the CPU.

    Raises
    ------
    TrainingError
        The loss is not finite, or there is nothing to train on.
    """
    count = len(cast(Sized, data))
    if count == 0:
        raise TrainingError("no training windows\n  -> a longer record, or a shorter history or horizon")
    lightning.seed_everything(options.seed, verbose=False)
    each = -(-count // (options.batch_size * options.accumulate))
    steps = options.steps or options.epochs * each
    learner = _Learner(model, weight, options, steps, each)
    batches_in, valid_in = _loaders(data, valid, learner)
    callbacks, best = _callbacks(model, data, valid, options, steps, folder)
    with _quiet():
        trainer = lightning.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="auto" if device == "auto" else device.partition(":")[0],
            devices=1,
            precision="bf16-mixed" if options.precision == "bfloat16" else "32-true",
            accumulate_grad_batches=options.accumulate,
            gradient_clip_val=options.gradient_clip,
            callbacks=callbacks,
            logger=CSVLogger(folder, name="", version="log"),
            log_every_n_steps=20,
            enable_progress_bar=_watched(progress),
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        last = folder / "last.ckpt"
        trainer.fit(
            learner, batches_in, valid_in, ckpt_path=last if resume and last.exists() else None, weights_only=True
        )
    _take_best(learner, best, valid)
    return model.cpu().eval()


def _loaders(data: Dataset, valid: Dataset | None, learner: _Learner) -> tuple[DataLoader, DataLoader | None]:
    size = learner.options.batch_size
    order = _Shuffled(len(cast(Sized, data)), learner.options.seed, learner.passes)
    return DataLoader(data, size, sampler=order), None if valid is None else DataLoader(valid, size)


def _callbacks(model: nn.Module, data: Dataset, valid: Dataset | None, options: TrainingOptions, steps: int, folder):
    monitor = None if valid is None else VALID
    best = ModelCheckpoint(folder, filename="best", monitor=monitor, save_last=True, enable_version_counter=False)
    callbacks: list[lightning.Callback] = [best]
    if options.average is not None:
        callbacks.append(WeightAveraging(avg_fn=warming_average(options.average)))
    if hasattr(model, "preview"):
        callbacks.append(_Previews(model, folder / "log", data if valid is None else valid, steps))
    if valid is not None and options.patience is not None:
        callbacks.append(EarlyStopping(VALID, mode="min", patience=options.patience, check_finite=True))
    return callbacks, best


def _take_best(learner: _Learner, best: ModelCheckpoint, valid: Dataset | None) -> None:
    if valid is not None and best.best_model_path:
        stored = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        learner.load_state_dict(stored["state_dict"])


def _watched(progress: bool | None) -> bool:
    import sys

    return progress if progress is not None else sys.stderr.isatty() or "ipykernel" in sys.modules


@contextmanager
def _quiet():
    """Without Lightning's advice on hardware and loaders, which is not the user's concern."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*lightning.*|.*DataLoader.*|.*num_workers.*|.*Checkpoint dir.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
