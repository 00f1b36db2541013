"""Configuration of PreDiff, and the options of its samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from xforecast.errors import InvalidOption
from xforecast.models.config import size_of
from xforecast.models.contract import Config, SamplingOptions, check_choice
from xforecast.models.prediff.alignment import KnowledgeAlignmentConfig
from xforecast.models.prediff.autoencoder import AutoencoderConfig
from xforecast.models.prediff.denoiser import CuboidUNetConfig
from xforecast.models.prediff.latent import LATENT_BLOCK
from xforecast.models.prediff.schedule import PREDICTIONS, DiffusionLoss, NoiseSchedule

__all__ = ["DiffusionSampling", "PreDiffConfig"]

FRAMES_AT_ONCE = 16
"""Frames that the autoencoder takes at a time in sampling."""
GUIDANCES = ("auto", "network", "decoder")
"""What a constraint can be applied through."""


@dataclass(frozen=True, kw_only=True)
class PreDiffConfig(Config):
    """Everything that defines a :class:`PreDiff`.

    Parameters
    ----------
    autoencoder : AutoencoderConfig
        Network that takes frames to the latent space and back.
    denoiser : CuboidUNetConfig
        Network that predicts the noise in a latent forecast.
    schedule : NoiseSchedule
        How much noise each step of the diffusion adds.
    alignment : KnowledgeAlignmentConfig, optional
        Network for knowledge control; without it, constraints are applied through the decoder.
    latent_scale : float
        Factor on the autoencoder's latents, so that they have a variance of about one;
        :meth:`PreDiff.estimate_latent_scale` gives it.
    prediction : {"noise", "clean"}
        What the denoiser predicts.
    loss : DiffusionLoss
        What the denoiser is trained for.
    grid : (int, int), optional
        Height and width of the data, where they differ from those of the latent times the autoencoder's factor.

    Examples
    --------
    >>> config = PreDiffConfig(
    ...     autoencoder=AutoencoderConfig(), denoiser=CuboidUNetConfig(history=7, horizon=6, grid=(16, 16))
    ... )
    >>> config.frame_grid
    (128, 128)
    >>> PreDiffConfig.from_dict(config.to_dict()) == config
    True
    >>> config.fitted(history=4, horizon=3, grid=(50, 64)).denoiser.grid
    (7, 8)
    """

    same_channels: ClassVar[bool] = True

    autoencoder: AutoencoderConfig
    denoiser: CuboidUNetConfig
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)
    alignment: KnowledgeAlignmentConfig | None = None
    latent_scale: float = 1.0
    prediction: str = "noise"
    loss: DiffusionLoss = field(default_factory=DiffusionLoss)
    grid: tuple[int, int] | None = None

    def validate(self) -> None:
        check_choice("prediction", self.prediction, PREDICTIONS)
        if not self.latent_scale > 0:
            raise InvalidOption("latent_scale", self.latent_scale, "a positive number", "latent_scale=1.0")
        if self.autoencoder.input_channels != self.autoencoder.output_channels:
            raise InvalidOption(
                "channels of the autoencoder",
                (self.autoencoder.input_channels, self.autoencoder.output_channels),
                "as many out as in, since it encodes the history and decodes the forecast",
                f"output_channels={self.autoencoder.input_channels}",
            )
        if self.autoencoder.latent_grid(self.frame_grid) != self.denoiser.grid:
            latent = self.autoencoder.latent_grid(self.frame_grid)
            reason = f"{latent} for frames of {self.frame_grid}"
            raise InvalidOption("denoiser.grid", self.denoiser.grid, reason, f"grid={latent} for the denoiser")
        wanted = (self.denoiser.horizon, self.denoiser.grid, self.autoencoder.latent_channels)
        for name, part in (("denoiser", self.denoiser), ("alignment", self.alignment)):
            if part is not None and (part.horizon, part.grid, part.channels) != wanted:
                found = (part.horizon, part.grid, part.channels)
                remedy = f"horizon={wanted[0]}, grid={wanted[1]}, channels={wanted[2]} for the {name}"
                raise InvalidOption(f"horizon, grid and channels of the {name}", found, f"{wanted}", remedy)

    @property
    def frame_grid(self) -> tuple[int, int]:
        """Height and width of the data."""
        if self.grid is not None:
            return self.grid
        height, width = self.denoiser.grid
        return height * self.autoencoder.factor, width * self.autoencoder.factor

    @property
    def history(self) -> int:
        """Number of frames that go in."""
        return self.denoiser.history

    @property
    def horizon(self) -> int:
        """Number of frames that come out."""
        return self.denoiser.horizon

    @property
    def lengths(self) -> tuple[int | None, int | None]:
        return self.history, self.horizon

    @classmethod
    def for_data(cls, shape: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Self:
        return super().for_data(shape, options) if options else cls.of_size(**size_of(shape))

    def fitted_to(self, shape: Mapping[str, Any]) -> Self:
        return self.fitted(**size_of(shape))

    @classmethod
    def of_size(cls, *, history: int, horizon: int, grid: tuple[int, int], channels: int = 1) -> Self:
        """A model of moderate size, about two million parameters, to train on data of one's own.

        Examples
        --------
        >>> PreDiffConfig.of_size(history=4, horizon=3, grid=(64, 64)).denoiser.channels
        16
        """
        autoencoder = AutoencoderConfig(
            input_channels=channels, output_channels=channels, level_channels=(16, 32, 64), latent_channels=16,
            norm_groups=8, blocks_per_level=1, kl_weight=1e-4, reduction="mean",
        )  # fmt: skip
        denoiser = CuboidUNetConfig(
            history=history, horizon=horizon, grid=autoencoder.latent_grid(grid),
            channels=autoencoder.latent_channels, base_channels=48, depths=(1, 1),
            block=replace(LATENT_BLOCK, attention_dropout=0.0, projection_dropout=0.0, feed_forward_dropout=0.0),
        )  # fmt: skip
        loss = DiffusionLoss(learned_uncertainty=False)
        return cls(autoencoder=autoencoder, denoiser=denoiser, loss=loss, grid=grid)

    def fitted(self, *, history: int, horizon: int, grid: tuple[int, int], channels: int = 1) -> Self:
        """The same model for data of another size."""
        latent = self.autoencoder.latent_grid(grid)
        alignment = self.alignment and replace(self.alignment, horizon=horizon, grid=latent)
        return replace(
            self,
            autoencoder=replace(self.autoencoder, input_channels=channels, output_channels=channels),
            denoiser=replace(self.denoiser, history=history, horizon=horizon, grid=latent),
            alignment=alignment,
            grid=grid,
        )


@dataclass(frozen=True, kw_only=True)
class DiffusionSampling(SamplingOptions):
    """Options of :meth:`PreDiff.sample`, which says what they do.

    Parameters
    ----------
    constraint : Constraint or callable, optional
        What the samples shall obey.
    sampler : str
        A name in :data:`~xforecast.models.prediff.samplers.SAMPLERS`.
    steps : int, optional
        Number of calls of the denoiser; by default what the sampler needs.
    strength, eta : float, optional
        How hard a constraint pulls, and the share of the noise that is drawn anew on the way.
    guidance : {"auto", "network", "decoder"}
        What a constraint is applied through.
    through_denoiser : bool
        Whether guidance through the decoder follows the derivative of the denoiser.
    """

    constraint: Any = None
    sampler: str = "dpm++"
    steps: int | None = None
    strength: float | None = None
    eta: float | None = None
    guidance: str = "auto"
    through_denoiser: bool = True

    def check(self, model: Any) -> None:
        model.check_sampling(**self.to_dict())
