"""The training loop, on Lightning: any model that owns its loss."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from torch import nn
from torch.utils.data import DataLoader, Dataset

from xforecast.errors import InvalidOption, TrainingError
from xforecast.models import contract
from xforecast.models.blocks import recomputing_layers
from xforecast.models.prediff import warming_average
from xforecast.training.checkpoints import RECORD, Curve, WholeFiles, check_same_training, identity
from xforecast.training.loader import Prefetched, Shares, Shuffled, pass_seed
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
        self.last_loss = torch.zeros(())
        self.record: dict = {}
        self.held_out = 0
        self.register_buffer("weight", weight, persistent=False)

    def _loss(self, batch) -> torch.Tensor:
        x, y = batch
        return self.model.loss(x, y, cast(torch.Tensor, self.weight) * y.isfinite())  # type: ignore[operator]

    def passes(self) -> int:
        """Passes over the data so far, counted in steps, which a checkpoint restores exactly."""
        return self.global_step // self.steps_each

    def place(self) -> tuple[int, int]:
        """Number of this process, and of processes."""
        return self.trainer.global_rank, self.trainer.world_size

    def on_save_checkpoint(self, checkpoint):
        checkpoint[RECORD] = self.record

    def on_load_checkpoint(self, checkpoint):
        # One that was written as a pass ended: Lightning, which counts steps here, would go on counting its batches.
        loop = checkpoint["loops"]["fit_loop"]
        passes, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
        if passes["total"]["completed"] < passes["total"]["processed"]:
            for counts in (passes["total"], passes["current"]):
                counts["completed"] = counts["processed"]
            batches["current"] = dict.fromkeys(batches["current"], 0)
            batches["is_last_batch"] = False

    def on_train_batch_start(self, batch, index):
        # Dropout of each pass from a seed of its own: a resumed training goes on as an unbroken one would. Not at the
        # start of the pass, which Lightning leaves out where it goes on from a checkpoint.
        if index == 0:
            torch.manual_seed(pass_seed(self.options.seed, self.passes()) + self.trainer.global_rank)

    def training_step(self, batch, index):
        if contract.abilities_of(self.model).follows_training:
            self.model.at_step(self.global_step, self.total)  # type: ignore[operator]
        loss = self._loss(batch)
        self.last_loss = loss.detach().clone()
        if self.trainer.world_size > 1:  # all processes learn of a loss that is not finite, and stop together
            self.last_loss = self.trainer.strategy.reduce(self.last_loss, reduce_op="mean")
        if not torch.isfinite(self.last_loss):
            slower = f"a smaller learning_rate (now {self.options.learning_rate:g}), or check the data for outliers"
            first = "a loss that leaves out targets of weight 0, which may be NaN, or check the data for outliers"
            raise TrainingError(
                f"the loss is {self.last_loss.item()} at step {self.global_step}\n"
                f"  -> {slower if self.global_step else first}"
            )
        return loss

    def on_train_batch_end(self, outputs, batch, index):
        # Lightning validates at the end of a pass, or when it is asked to stop: the last weights too are to be judged.
        if self.global_step >= self.total:
            self.trainer.should_stop = True

    def on_validation_start(self):
        # A loss that draws at random draws the same each time, so that validations can be compared.
        torch.manual_seed(self.options.seed)

    def validation_step(self, batch, index):
        rank, count = self.place()
        first = rank + count * index * self.options.batch_size
        # What only fills the last batch, so that no process has fewer windows than another, counts nothing.
        own = min(len(batch[0]), max(0, -(-(self.held_out - first) // count)))
        loss = self._loss([part[:own] for part in batch] if own else batch)
        self.log(VALID, loss * own / self.held_out, prog_bar=True, reduce_fx="sum", batch_size=1, sync_dist=count > 1)

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
        if not trainer.is_global_zero or trainer.global_step not in self.due or self.file(trainer.global_step).exists():
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
    contract: str = "",
    about: str = "",
) -> nn.Module:
    """Train a model in place and leave it with its best weights.

    Parameters
    ----------
    model : torch.nn.Module
        Owns ``loss(x, y, weight)``; see `xforecast.models.contract`.
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
    contract : str
        Digest of the spec, which has the statistics of the data: checkpoints of other data are refused.
    about : str
        What else makes this training another one than that of the same model, such as other coordinates.

    Returns
    -------
    torch.nn.Module
        The model, in evaluation mode, on the CPU.

    Raises
    ------
    TrainingError
        The loss is not finite, there is nothing to train on, or a checkpoint cannot be written.
    CheckpointError
        The checkpoint to go on from is damaged or of another training.
    """
    count = len(cast(Sized, data))
    if count == 0:
        raise TrainingError("no training windows\n  -> a longer record, or a shorter history or horizon")
    lightning.seed_everything(options.seed, verbose=False)
    each = -(-count // (options.batch_size * options.accumulate * options.devices))
    steps = options.steps or options.epochs * each
    learner = _Learner(model, weight, options, steps, each)
    learner.record = identity(model, count, options, contract, about)
    last = folder / "last.ckpt"
    resumed = resume and last.exists()
    if resumed:
        check_same_training(last, learner.record, learner)
    batches, held_out = _loaders(data, valid, learner)
    callbacks, best = _callbacks(model, data, valid, options, steps, folder)
    callbacks.append(Curve(folder / "log" / "metrics.csv", VALID, batches))
    kind, _, number = device.partition(":")
    with _quiet(), _recomputing(model, options.activation_checkpointing):
        trainer = lightning.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator=kind,
            devices=[int(number)] if number and options.devices == 1 else options.devices,
            strategy=_strategy(options),
            use_distributed_sampler=False,
            precision="bf16-mixed" if options.precision == "bfloat16" else "32-true",
            accumulate_grad_batches=options.accumulate,
            gradient_clip_val=options.gradient_clip,
            callbacks=callbacks,
            plugins=[WholeFiles()],
            logger=False,
            enable_progress_bar=_watched(progress),
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(learner, batches, held_out, ckpt_path=last if resumed else None, weights_only=True)
        _take_best(learner, best, valid)
        trainer.strategy.barrier()  # the folder may be a temporary one of the first process
    return model.cpu().eval()


def _loaders(data: Dataset, valid: Dataset | None, learner: _Learner) -> tuple[Prefetched, Prefetched | None]:
    options = learner.options
    order = Shuffled(data, learner.place, options.seed, learner.passes)
    batches = Prefetched(DataLoader(data, options.batch_size, sampler=order))
    if valid is None:
        return batches, None
    learner.held_out = len(cast(Sized, valid))
    return batches, Prefetched(DataLoader(valid, options.batch_size, sampler=Shares(valid, learner.place)))


def _callbacks(model: nn.Module, data: Dataset, valid: Dataset | None, options: TrainingOptions, steps: int, folder):
    monitor = None if valid is None else VALID
    best = ModelCheckpoint(folder, filename="best", monitor=monitor, save_last=True, enable_version_counter=False)
    callbacks: list[lightning.Callback] = [best]
    if options.average is not None:
        callbacks.append(WeightAveraging(avg_fn=warming_average(options.average)))
    if contract.abilities_of(model).previews:
        callbacks.append(_Previews(model, folder / "log", data if valid is None else valid, steps))
    if valid is not None and options.patience is not None:
        callbacks.append(EarlyStopping(VALID, mode="min", patience=options.patience, check_finite=True))
    return callbacks, best


def _strategy(options: TrainingOptions) -> str:
    """The name in Lightning of how processes train together."""
    name = options.strategy
    if name == "auto" and options.devices > 1:
        name = "ddp_notebook" if "ipykernel" in sys.modules else "ddp"
    # Not every weight has a gradient in every step: the last update of global vectors, say, reaches no loss.
    return f"{name}_find_unused_parameters_true" if name in ("ddp", "ddp_spawn", "ddp_fork", "ddp_notebook") else name


def _take_best(learner: _Learner, best: ModelCheckpoint, valid: Dataset | None) -> None:
    if valid is not None and best.best_model_path:
        stored = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        learner.load_state_dict(stored["state_dict"])


@contextmanager
def _recomputing(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Layers that can, compute their activations again for the gradient."""
    layers = recomputing_layers(model) if wanted else []
    if wanted and not layers:
        raise InvalidOption(
            "activation_checkpointing", True, f"False: {type(model).__name__} has no layers that offer it",
            "a smaller batch_size with accumulate=",
        )  # fmt: skip
    before = [layer.checkpoint for layer in layers]
    try:
        for layer in layers:
            layer.checkpoint = "all"
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.checkpoint = value


def _watched(progress: bool | None) -> bool:
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
