"""PreDiff: forecasts drawn from a distribution, by diffusion in an autoencoder's latent space (Gao et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks.tiling import Tiles
from xforecast.models.contract import Config, check_choice, check_positive, check_shape
from xforecast.models.prediff.adversary import AdversarialAutoencoder, AdversarialAutoencoderConfig
from xforecast.models.prediff.alignment import KnowledgeAlignment, KnowledgeAlignmentConfig
from xforecast.models.prediff.autoencoder import Autoencoder, AutoencoderConfig, Posterior
from xforecast.models.prediff.denoiser import LATENT_BLOCK, CuboidUNet, CuboidUNetConfig
from xforecast.models.prediff.guidance import Constraint, DecoderGuidance, NetworkGuidance, residual_of, violation
from xforecast.models.prediff.samplers import SAMPLERS, Denoiser, row_noise, sample, spaced_steps
from xforecast.models.prediff.schedule import PREDICTIONS, DiffusionLoss, NoiseSchedule

__all__ = ["PreDiff", "PreDiffConfig", "SamplingReport", "TrainingStage"]

FRAMES_AT_ONCE = 16
"""Frames that the autoencoder takes at a time in sampling."""

GUIDANCES = ("auto", "network", "decoder")
DECODER_STRENGTH = 1.0
GUIDANCE_CAP = 2.0
"""See :class:`~xforecast.models.prediff.guidance.DecoderGuidance`. Without it a mean is reached by one shower of
800 mm/h."""
OWN_NETWORK_STRENGTH = 5.0
"""Default strength of guidance by an alignment network that works on normalised departures, as :meth:`PreDiff.stage`
makes it."""


@dataclass(frozen=True, kw_only=True)
class PreDiffConfig(Config):
    """Everything that defines a :class:`PreDiff`.

    Parameters
    ----------
    autoencoder : AutoencoderConfig
    denoiser : CuboidUNetConfig
    schedule : NoiseSchedule
    alignment : KnowledgeAlignmentConfig, optional
        Network for knowledge control; without it, constraints are applied through the decoder.
    latent_scale : float
        Factor on the autoencoder's latents, so that they have a variance of about one;
        :meth:`PreDiff.estimate_latent_scale` gives it.
    prediction : {"noise", "clean"}
        What the denoiser predicts.
    loss : DiffusionLoss
    grid : (int, int), optional
        Height and width of the data, where they are not those of the latent times the autoencoder's factor.

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
            raise InvalidOption("latent_scale", self.latent_scale, "a positive number")
        if self.autoencoder.input_channels != self.autoencoder.output_channels:
            raise InvalidOption(
                "channels of the autoencoder",
                (self.autoencoder.input_channels, self.autoencoder.output_channels),
                "as many out as in, since it encodes the history and decodes the forecast",
            )
        if self.autoencoder.latent_grid(self.frame_grid) != self.denoiser.grid:
            raise InvalidOption(
                "denoiser.grid", self.denoiser.grid, f"{self.autoencoder.latent_grid(self.frame_grid)} for frames of "
                f"{self.frame_grid}",
            )  # fmt: skip
        wanted = (self.denoiser.horizon, self.denoiser.grid, self.autoencoder.latent_channels)
        for name, part in (("denoiser", self.denoiser), ("alignment", self.alignment)):
            if part is not None and (part.horizon, part.grid, part.channels) != wanted:
                found = (part.horizon, part.grid, part.channels)
                raise InvalidOption(f"horizon, grid and channels of {name}", found, f"{wanted}")

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


@dataclass(frozen=True)
class SamplingReport:
    """How well samples obey the constraint.

    Parameters
    ----------
    residual : Tensor, (n,)
        Norm of the residual of every finished sample.
    trace : Tensor, (n, steps)
        The same on the way, before each step's correction: of the expected forecast, or as the alignment network
        estimates it.
    unguided : Tensor, (n,)
        Norm of the residual of the sample that the same noise gives without guidance.

    Examples
    --------
    >>> SamplingReport(torch.zeros(2), torch.ones(2, 20), torch.ones(2)).trace.shape
    torch.Size([2, 20])
    """

    residual: torch.Tensor
    trace: torch.Tensor
    unguided: torch.Tensor


class PreDiff(nn.Module):
    """Latent diffusion model of the future given the past (Gao et al. 2023).

    The autoencoder takes frames to a latent space and back. There a denoiser turns noise into a forecast, step by step,
    with the latent history as context. A constraint, if one is given, steers every step; see
    :mod:`~xforecast.models.prediff.guidance`.

    A field larger than the frames that the model was made for is sampled as one: the noise is that of the whole field,
    and at every step the denoiser's predictions for overlapping windows of the latent are joined
    (compare Bar-Tal et al. 2023).

    Parameters
    ----------
    config : PreDiffConfig

    Attributes
    ----------
    autoencoder : Autoencoder
    denoiser : CuboidUNet
    alignment : KnowledgeAlignment or None
    logvar : Parameter, (steps,), or None
        Learned log variance of each step's error.
    sampling_options : tuple of str
        Keyword arguments of :meth:`sample` that shape the samples.

    Examples
    --------
    >>> config = PreDiffConfig(
    ...     autoencoder=AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4),
    ...     denoiser=CuboidUNetConfig(
    ...         history=3, horizon=2, grid=(8, 8), channels=4, base_channels=16, depths=(1, 1)
    ...     ),
    ... )
    >>> model, x = PreDiff(config).eval(), torch.rand(1, 3, 16, 16, 1)
    >>> generators = [torch.Generator().manual_seed(member) for member in range(4)]
    >>> model.sample(x, torch.zeros(4, dtype=torch.long), torch.arange(4), generators, steps=5).shape
    torch.Size([4, 2, 16, 16, 1])
    """

    any_grid = True
    default_sampling: ClassVar[dict[str, Any]] = {"sampler": "dpm++"}
    sampling_options = ("constraint", "sampler", "steps", "strength", "eta", "guidance", "through_denoiser")

    def __init__(self, config: PreDiffConfig):
        super().__init__()
        self.config = config
        self.autoencoder = Autoencoder(config.autoencoder)
        self.denoiser = CuboidUNet(config.denoiser)
        self.alignment = None if config.alignment is None else KnowledgeAlignment(config.alignment)
        self.logvar: nn.Parameter | None = None
        if config.loss.learned_uncertainty:
            self.logvar = nn.Parameter(torch.zeros(config.schedule.steps))

    # ---------------------------------------------------------------- to the latent space and back

    def encode(self, x: torch.Tensor, *, chunk: int | None = None) -> torch.Tensor:
        """Mean latent of frames: of a history, what the forecast is made from.

        Parameters
        ----------
        x : Tensor, (batch, time, height, width, channel)
        chunk : int, optional
            Number of frames to encode at a time.

        Returns
        -------
        Tensor, (batch, time, latent height, latent width, latent channel)
        """
        return self.config.latent_scale * self.autoencoder.encode(x, chunk=chunk).mean

    def encode_context(self, x: torch.Tensor) -> torch.Tensor:
        """What :meth:`sample` takes as `context`, so that a history is encoded once for all of its samples.

        Returns
        -------
        Tensor, (batch, window, time, latent height, latent width, latent channel)
            One window, unless the fields are larger than those that the model was made for.
        """
        return self._encode_windows(x, self._tiles(x), FRAMES_AT_ONCE)

    def decode(self, z: torch.Tensor, *, chunk: int | None = None) -> torch.Tensor:
        """Frames of latents, the inverse of :meth:`encode`; not clipped to the range of the data."""
        return self.autoencoder.decode(z / self.config.latent_scale, grid=self.config.frame_grid, chunk=chunk)

    def _tiles(self, x: torch.Tensor) -> Tiles:
        """Windows of the latent for histories of any size from that of the model's frames on."""
        config = self.config
        field = tuple(x.shape[2:4]) if x.ndim == 5 else config.frame_grid
        if any(size < least for size, least in zip(field, config.frame_grid, strict=True)):
            field = config.frame_grid
        check_shape(x, (config.history, *field, config.autoencoder.input_channels))
        return Tiles(config.autoencoder.latent_grid(field), config.denoiser.grid)  # type: ignore[arg-type]

    def _encode_windows(self, x: torch.Tensor, tiles: Tiles, chunk: int | None) -> torch.Tensor:
        frames = replace(tiles, factor=self.config.autoencoder.factor)
        return torch.stack([self.encode(part, chunk=chunk) for part in frames.cut(x)], dim=1)

    def _decode_windows(self, z: torch.Tensor, tiles: Tiles, grid: tuple[int, int], chunk: int | None) -> torch.Tensor:
        """Frames of a latent that may be larger than the model's, decoded in windows."""
        if len(tiles) == 1:
            return self.autoencoder.decode(z / self.config.latent_scale, grid=grid, chunk=chunk)
        parts = [self.autoencoder.decode(part / self.config.latent_scale, chunk=chunk) for part in tiles.cut(z)]
        frames = replace(tiles, factor=self.config.autoencoder.factor).join(parts)
        return frames[:, :, : grid[0], : grid[1]]

    def reconstruct(self, frames: torch.Tensor, *, chunk: int | None = FRAMES_AT_ONCE) -> torch.Tensor:
        """What is left of frames (batch, time, height, width, channel) in their latents: decoded, as samples are."""
        grid = (frames.shape[2], frames.shape[3])
        tiles = Tiles(self.config.autoencoder.latent_grid(grid), self.config.denoiser.grid)
        parts = replace(tiles, factor=self.config.autoencoder.factor).cut(frames)
        z = tiles.join([self.encode(part, chunk=chunk) for part in parts])
        return self._decode_windows(z, tiles, grid, chunk)

    def set_latent_scale(self, scale: float) -> None:
        """Make `scale` the `latent_scale` of the model and of its configuration."""
        self.config = replace(self.config, latent_scale=scale)

    @torch.no_grad()
    def estimate_latent_scale(self, frames: torch.Tensor, *, chunk: int | None = FRAMES_AT_ONCE) -> float:
        """One over the standard deviation of the latents of `frames`: what `latent_scale` should be (Rombach 2022)."""
        return 1 / float(self.autoencoder.encode(frames, chunk=chunk).mean.std())

    # ---------------------------------------------------------------- training

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Diffusion loss of the denoiser, at steps and with noise drawn at random; the autoencoder learns nothing.

        With learned uncertainty it can be negative.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
        y : Tensor, (batch, horizon, height, width, channel)
        weight : Tensor, optional
            Broadcasts against `y`; every place of the latent has the mean weight of what it stands for. Where it is
            zero `y` may be missing (NaN).
        """
        with torch.no_grad():
            context = self.encode(x)
            clean = self._draw_latent(y, weight)
        t, noise = self._draw_steps(len(y)), torch.randn_like(clean)
        return self.diffusion_loss(clean, context, t, noise, self._latent_weight(weight, y))

    def diffusion_loss(
        self,
        clean: torch.Tensor,
        context: torch.Tensor,
        t: torch.Tensor,
        noise: torch.Tensor,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss of the denoiser for given steps and noise.

        Parameters
        ----------
        clean, noise : Tensor, (batch, horizon, height, width, channel)
            Latent of the target, and standard normal noise.
        context : Tensor, (batch, history, height, width, channel)
            Latent of the history.
        t : LongTensor, (batch,)
        weight : Tensor, optional
            Broadcasts against `clean`.
        """
        schedule, loss = self.config.schedule, self.config.loss
        predicted = self.denoiser(schedule.add_noise(clean, t, noise), t.to(clean.device), context)
        error = loss.error(predicted, noise if self.config.prediction == "noise" else clean, weight)
        simple = error
        if self.logvar is not None:
            logvar = self.logvar[t.to(self.logvar.device)]
            simple = error / logvar.exp() + logvar
        total = loss.simple_weight * simple.mean()
        if loss.bound_weight:
            bound = schedule.at(schedule.bound_weights(self.config.prediction), t, error)
            total = total + loss.bound_weight * (bound * error).mean()
        return total

    def alignment_loss(
        self,
        y: torch.Tensor,
        functional: Callable[[torch.Tensor], torch.Tensor],
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss of the alignment network for a functional of the clean frames, at steps and with noise drawn at random.

        Parameters
        ----------
        y : Tensor, (batch, horizon, height, width, channel)
        functional : callable
            From frames to (batch, time, numbers), such as that of a constraint.
        weight : Tensor, optional
            Where it is zero `y` may be missing (NaN) and counts as zero.
        """
        alignment = self._alignment()
        with torch.no_grad():
            clean = self._draw_latent(y, weight)
            target = functional(_filled(y, weight))
        t = self._draw_steps(len(y))
        z = self.config.schedule.add_noise(clean, t, torch.randn_like(clean))
        return alignment.loss(z, t.to(z.device), target)

    stages = ("autoencoder", "denoiser", "alignment")
    optional_stages = ("alignment",)
    """Trainings in order; the last only for a functional that one wants to control."""

    def stage(
        self, part: str, functional: Callable[[torch.Tensor], torch.Tensor] | None = None, **options: Any
    ) -> TrainingStage:
        """One of the three trainings, each with its own ``loss(x, y, weight)`` and parameters, to be done in order.

        Parameters
        ----------
        part : {"autoencoder", "denoiser", "alignment"}
        functional, **options
            Those of :class:`TrainingStage`.
        """
        return TrainingStage(self, part, functional, **options)

    def add_alignment(self, config: KnowledgeAlignmentConfig) -> None:
        """Have a new alignment network, in place of one that there may be."""
        self.config = replace(self.config, alignment=config)
        self.alignment = KnowledgeAlignment(config)

    def _draw_latent(self, y: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        return self.config.latent_scale * self.autoencoder.encode(_filled(y, weight)).sample()

    def _draw_steps(self, count: int) -> torch.Tensor:
        return torch.randint(self.config.schedule.steps, (count,), device="cpu")

    def _latent_weight(self, weight: torch.Tensor | None, y: torch.Tensor) -> torch.Tensor | None:
        """Mean weight of the cells that a place of the latent stands for, (batch, time, height, width, 1)."""
        if weight is None:
            return None
        factor = self.config.autoencoder.factor
        rows, columns = (-extent % factor for extent in self.config.frame_grid)
        cells = nn.functional.pad(weight.float().expand_as(y).mean(dim=-1), (0, columns, 0, rows))
        return nn.functional.avg_pool2d(cells, factor)[..., None]

    def _alignment(self) -> KnowledgeAlignment:
        if self.alignment is None:
            raise InvalidOption("alignment", None, "a model whose configuration has an alignment network")
        return self.alignment

    # ---------------------------------------------------------------- sampling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One sample for every history, always with the same noise; :meth:`sample` draws others.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)

        Returns
        -------
        Tensor, (batch, horizon, height, width, channel)
        """
        generators = [torch.Generator().manual_seed(0) for _ in x]
        rows = torch.arange(len(x), device="cpu")
        return self.sample(x, rows, torch.zeros_like(rows), generators)  # type: ignore[return-value]

    def sample(
        self,
        x: torch.Tensor,
        rows: torch.Tensor,
        members: torch.Tensor,
        generators: Sequence[torch.Generator],
        *,
        sampler: str = "dpm++",
        steps: int | None = None,
        eta: float | None = None,
        constraint: Constraint | Callable[[torch.Tensor], torch.Tensor] | None = None,
        strength: float | None = None,
        guidance: str = "auto",
        through_denoiser: bool = True,
        context: torch.Tensor | None = None,
        chunk: int | None = FRAMES_AT_ONCE,
        report: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, SamplingReport]:
        """Draw samples of the forecast.

        Parameters
        ----------
        x, rows, members, generators
            As in :meth:`xforecast.models.contract.ProbabilisticModel.sample`; `x` may be
            larger than the model's frames.
        sampler : str
            A name in :data:`~xforecast.models.prediff.samplers.SAMPLERS`; ``"ddpm"`` is that of the paper.
        steps : int, optional
            Calls of the denoiser; by default what the sampler needs, 20 for the default one.
        eta : float, optional
            Share of the noise that is drawn anew on the way, 0 to 1; by default the sampler's.
        constraint : Constraint or callable, optional
            What the samples shall obey.
        strength : float, optional
            How hard to pull; by default the constraint's, else that of the alignment network (50 for the published
            one), in standard deviations of what it estimates, or 1 for the decoder.
        guidance : {"auto", "network", "decoder"}
            Apply the constraint through the alignment network or through the decoder. "auto" takes the network if it
            was trained on the functional of the constraint's name.
        through_denoiser : bool
            See :class:`~xforecast.models.prediff.guidance.DecoderGuidance`.
        context : Tensor, optional
            What :meth:`encode_context` gave for `x`, where it is at hand.
        chunk : int, optional
            Frames to encode and decode at a time. Changes memory, not the result.
        report : bool
            Also return how well the samples obey the constraint, and would without guidance; the latter takes as long
            as samples without a constraint.

        Returns
        -------
        Tensor, (n, horizon, height, width, channel)
            And a :class:`SamplingReport` if `report`.

        Raises
        ------
        InvalidOption
            For options that cannot work.
        """
        config, tiles = self.config, self._tiles(x)
        grid = (x.shape[2], x.shape[3])
        if report and constraint is None:
            raise InvalidOption("report", True, "a constraint to report on")
        # Guidance needs gradients, which tensors of inference mode cannot have.
        with torch.inference_mode(False), torch.no_grad():
            x, rows = x.clone(), rows.to(x.device)
            context = (self._encode_windows(x, tiles, chunk) if context is None else context.clone())[rows]
            denoise = self._denoiser_for(context, tiles)

            def decode(z: torch.Tensor) -> torch.Tensor:
                return self._decode_windows(z, tiles, grid, chunk)

            guided = None
            if constraint is not None:
                # What depends on the history, such as a value to conserve, is settled for each sample.
                constraint = constraint.prepare(x[rows]) if hasattr(constraint, "prepare") else constraint
                guidance = self._way(guidance, constraint, tiles)
                guided = self._guided(denoise, constraint, decode, strength, guidance, through_denoiser)
            latent = (config.horizon, *tiles.field, config.denoiser.channels)

            def draw(eps: Denoiser, sources: Sequence[torch.Generator]) -> torch.Tensor:
                noise = row_noise(sources, latent, context)
                return sample(eps, noise(), config.schedule, noise, sampler=sampler, steps=steps, eta=eta)

            twins = [_twin(source) for source in generators] if report else []
            clean = draw(guided or denoise, generators)
            forecast = decode(clean)
            if not report:
                return forecast
            free = clean if guided is None else draw(denoise, twins)
            residual = self._residual(constraint, clean, forecast)
            unguided = residual if guided is None else self._residual(constraint, free, decode(free))
            trace = torch.stack(guided.trace, dim=1) if guided is not None else forecast.new_zeros(len(forecast), 0)
            return forecast, SamplingReport(residual, trace, unguided)

    def check_sampling(
        self,
        *,
        sampler: str = "dpm++",
        steps: int | None = None,
        eta: float | None = None,
        constraint: Any = None,
        guidance: str = "auto",
        strength: float | None = None,
        through_denoiser: bool = True,
    ) -> None:
        """Raise :class:`~xforecast.errors.InvalidOption` for options of :meth:`sample` that cannot work."""
        check_choice("sampler", sampler, SAMPLERS)
        if steps is not None:
            spaced_steps(steps, self.config.schedule.steps)
        if eta is not None and not 0 <= eta <= 1:
            raise InvalidOption("eta", eta, "a share between 0 and 1")
        check_choice("guidance", guidance, GUIDANCES)
        if strength is not None and not 0 <= strength < float("inf"):
            raise InvalidOption("strength", strength, "a number of at least 0")
        if constraint is None:
            for option, value in (("strength", strength), ("guidance", None if guidance == "auto" else guidance)):
                if value is not None:
                    remedy = f"constraint=, or leave {option}= out"
                    raise InvalidOption(option, value, "a constraint to go with it", remedy)
            return
        residual_of(constraint)
        known = self.alignment is not None and self.alignment.config.functional == getattr(constraint, "name", None)
        if guidance == "network" and not known:
            found = self.alignment and self.alignment.config.functional
            raise InvalidOption(
                "guidance", guidance, f"a constraint named {found!r}, on which the alignment network was trained"
                if found else "a forecaster with an alignment network",
                "guidance='decoder' needs no network; xforecast.training.align trains one",
            )  # fmt: skip

    def _denoiser_for(self, context: torch.Tensor, tiles: Tiles) -> Denoiser:
        """The noise in z_t given the context of each window, whatever the network predicts."""

        def denoise(z: torch.Tensor, t: int) -> torch.Tensor:
            steps = torch.full((len(z),), t, device=z.device)
            parts = [self.denoiser(part, steps, context[:, window]) for window, part in enumerate(tiles.cut(z))]
            predicted = tiles.join(parts).to(z.dtype)
            if self.config.prediction == "noise":
                return predicted
            return self.config.schedule.predict_noise(z, steps, predicted)

        return denoise

    def _guided(
        self,
        denoise: Denoiser,
        constraint: Any,
        decode: Callable[[torch.Tensor], torch.Tensor],
        strength: float | None,
        guidance: str,
        through_denoiser: bool,
    ) -> NetworkGuidance | DecoderGuidance | None:
        """The denoiser that obeys a constraint; None where its strength is zero."""
        if strength is None:
            strength = getattr(constraint, "strength", None)
        if strength is None:
            strength = self._alignment().config.strength if guidance == "network" else DECODER_STRENGTH
        if strength == 0:
            return None
        if guidance == "decoder":
            latent = _in_latent(constraint)
            return DecoderGuidance(
                denoise, self.config.schedule, residual_of(constraint), self._unscaled if latent else decode, strength,
                through_denoiser=through_denoiser, cap=None if latent else GUIDANCE_CAP,
            )  # fmt: skip
        if not hasattr(constraint, "compare"):
            raise InvalidOption("constraint", constraint, "a method compare(values) for use with the network")
        network = self._alignment()
        pull = strength / network.config.output_deviation
        return NetworkGuidance(denoise, self.config.schedule, network, constraint.compare, pull)

    def _way(self, guidance: str, constraint: Any, tiles: Tiles) -> str:
        """Through the network or through the decoder; the network has seen fields of one window only."""
        check_choice("guidance", guidance, GUIDANCES)
        if guidance == "auto":
            known = self.alignment is not None and self.alignment.config.functional == getattr(constraint, "name", None)
            return "network" if known and len(tiles) == 1 else "decoder"
        if guidance == "network" and len(tiles) > 1:
            wanted = f"a field of {self.config.frame_grid}, as the alignment network was trained on"
            raise InvalidOption("guidance", guidance, wanted, "guidance='decoder' takes fields of any size")
        return guidance

    def _unscaled(self, z: torch.Tensor) -> torch.Tensor:
        return z / self.config.latent_scale

    def _residual(self, constraint: Any, clean: torch.Tensor, forecast: torch.Tensor) -> torch.Tensor:
        """How far samples are off, (n,)."""
        constrained = self._unscaled(clean) if _in_latent(constraint) else forecast
        return violation(residual_of(constraint)(constrained))


def _twin(source: torch.Generator) -> torch.Generator:
    """Another generator of the same numbers."""
    twin = torch.Generator()
    twin.set_state(source.get_state())
    return twin


PREVIEW_FRAMES = 4


class TrainingStage(nn.Module):
    """One part of a :class:`PreDiff` to be trained, the others being held: what any training loop asks of a model.

    It has the part's parameters only, and shares them with the model.

    Parameters
    ----------
    model : PreDiff
    part : {"autoencoder", "denoiser", "alignment"}
    functional : callable, optional
        Of the clean frames; what the alignment network learns to estimate. From (batch, time, height, width, channel)
        to (batch, time, numbers), or (batch, numbers) of the whole sequence.
    name : str, optional
        Of the functional: constraints of that name are applied through the network. Left out, the network is that of
        the configuration.
    network : KnowledgeAlignmentConfig, optional
        Of a new alignment network; by default half as wide as the denoiser.
    adversary : AdversarialAutoencoderConfig or mapping, optional
        For the autoencoder: train it against an adversary with these options.
    encoded_pairs : int, optional
        For the denoiser: train on the latents of this many pairs, encoded once by :meth:`encode_pairs`, which saves the
        autoencoder's share of every step.

    Attributes
    ----------
    training_options : dict
        What training should do for this part, if nothing else is asked for.

    Examples
    --------
    >>> config = PreDiffConfig(
    ...     autoencoder=AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4),
    ...     denoiser=CuboidUNetConfig(history=3, horizon=2, grid=(8, 8), channels=4, base_channels=16, depths=(1,)),
    ... )
    >>> stage = PreDiff(config).stage("denoiser")
    >>> x, y = torch.rand(2, 3, 16, 16, 1), torch.rand(2, 2, 16, 16, 1)
    >>> stage.loss(x, y).backward()
    >>> {name.partition(".")[0] for name, _ in stage.named_parameters()} == {"network", "logvar"}
    True
    """

    def __init__(
        self,
        model: PreDiff,
        part: str,
        functional: Callable[[torch.Tensor], torch.Tensor] | None = None,
        *,
        name: str | None = None,
        network: KnowledgeAlignmentConfig | None = None,
        adversary: AdversarialAutoencoderConfig | Mapping[str, Any] | None = None,
        encoded_pairs: int | None = None,
    ):
        super().__init__()
        check_choice("part", part, PreDiff.stages)
        if part == "alignment":
            if functional is None:
                raise InvalidOption("functional", None, "the function of the frames that the network shall estimate")
            if name is not None:
                known = model.config.alignment
                if network is None and known is not None and known.functional == name:
                    network = known
                model.add_alignment(network or _alignment_config(model.config, functional, name))
            model._alignment()
        if adversary is not None and part != "autoencoder":
            raise InvalidOption("adversary", adversary, f"none for the {part}", "give it to the stage 'autoencoder'")
        if encoded_pairs is not None:
            check_positive("encoded_pairs", encoded_pairs)
            if part != "denoiser":
                raise InvalidOption("encoded_pairs", encoded_pairs, f"none for the {part}")
        self.encoded_pairs = encoded_pairs
        self.part, self.functional, self.config = part, functional, model.config
        self.training_options = {"average": 0.999} if part == "denoiser" else {}
        self.network = getattr(model, part)
        if adversary is not None:
            self.network = _opposed(model.autoencoder, adversary)
        self.logvar = model.logvar if part == "denoiser" else None
        self._whole = (model,)  # in a tuple, so that its other parts are no part of this module

    def prepare(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Settle what the data decide before the part is trained: the scale of latents, the spread of a functional.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
        y : Tensor, (batch, horizon, height, width, channel)
            Some pairs of the training data; missing values of `y` are NaN.
        """
        (model,) = self._whole
        if self.part == "denoiser":
            model.set_latent_scale(model.estimate_latent_scale(x.flatten(0, 1)[:, None]))
        elif self.part == "alignment" and self.functional is not None:
            values = self.functional(torch.nan_to_num(y)).float()
            deviation = float(values.std()) or 1.0
            config = replace(model._alignment().config, output_mean=float(values.mean()), output_deviation=deviation)
            model.config = replace(model.config, alignment=config)
            model._alignment().config = config

    @torch.no_grad()
    def encode_pairs(self, data: Any, weight: torch.Tensor) -> torch.utils.data.Dataset:
        """Latents of evenly spread pairs of a data set, in float16, for :meth:`loss` with `encoded_pairs`.

        Parameters
        ----------
        data : Dataset
            Pairs (x, y).
        weight : Tensor
            Broadcasts against y.

        Returns
        -------
        Dataset
            Of latents of the history, and of mean, log variance and mean weight of the target's latents.
        """
        (model,) = self._whole
        total = min(self.encoded_pairs or len(data), len(data))
        contexts, targets = [], []
        for number in range(total):
            x, y = (part[None] for part in data[number * len(data) // total])
            known = (weight * y.isfinite())[:1]
            posterior = model.autoencoder.encode(_filled(y, known), chunk=FRAMES_AT_ONCE)
            cells = model._latent_weight(known, y)
            contexts.append(model.encode(x, chunk=FRAMES_AT_ONCE)[0].half())
            targets.append(torch.cat([posterior.mean, posterior.logvar, cells], dim=-1)[0].half())  # type: ignore[list-item]
        return torch.utils.data.TensorDataset(torch.stack(contexts), torch.stack(targets))

    def _encoded_loss(self, context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        (model,) = self._whole
        moments, cells = target[..., :-1].float(), target[..., -1:].float()
        clean = model.config.latent_scale * Posterior.of_moments(moments).sample()
        t, noise = model._draw_steps(len(clean)), torch.randn_like(clean)
        return model.diffusion_loss(clean, context.float(), t, noise, cells)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast of the whole model."""
        return self._whole[0](x)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """The part's own loss.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
        y : Tensor, (batch, horizon, height, width, channel)
        weight : Tensor, optional
            Broadcasts against `y`. Where it is zero `y` may be missing (NaN).
        """
        (model,) = self._whole
        if self.encoded_pairs:
            return self._encoded_loss(x, y)
        if self.part == "denoiser":
            return model.loss(x, y, weight)
        if self.part == "alignment":
            assert self.functional is not None
            return model.alignment_loss(y, self.functional, weight)
        frames = torch.cat([x, _filled(y, weight)], dim=1)
        if weight is not None:
            weight = torch.cat([torch.ones_like(x), weight.expand_as(y)], dim=1)
        # Without gradients an adversary has no weight; what is monitored is the error alone.
        network = self.network if self.training else model.autoencoder
        return network.loss(frames, weight=weight)

    @torch.no_grad()
    def preview(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the part makes of one pair as it is now, to look at during training.

        Returns
        -------
        dict of str to Tensor
            ``observed`` and ``made`` frames, or the functional of both for the alignment network.
        """
        (model,) = self._whole
        if self.encoded_pairs:
            scale = model.config.latent_scale
            moments = y[..., :-1].float()
            x, y = model.decode(x.float()), model.decode(scale * Posterior.of_moments(moments).mean)
        y = torch.nan_to_num(y)
        if self.part == "autoencoder":
            return {"observed": y[:, :PREVIEW_FRAMES], "made": model.autoencoder(y[:, :PREVIEW_FRAMES])}
        if self.part == "denoiser":
            return {"history": x, "observed": y, "made": model(x)}
        assert self.functional is not None
        t = torch.zeros(len(y), dtype=torch.long, device=y.device)
        return {"observed": self.functional(y), "made": model._alignment()(model.encode(y), t)}

    def _apply(self, fn, recurse=True):
        # Moved together with what it shares a model with.
        self._whole[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


def _opposed(autoencoder: Autoencoder, adversary: AdversarialAutoencoderConfig | Mapping[str, Any]) -> nn.Module:
    """The autoencoder with an adversary."""
    if not isinstance(adversary, Mapping | AdversarialAutoencoderConfig):
        raise InvalidOption("adversary", adversary, "a mapping of its options, which may be empty, or None")
    if isinstance(adversary, Mapping):
        options = {**adversary, "autoencoder": autoencoder.config}
        adversary = AdversarialAutoencoderConfig.from_dict(options)
    return AdversarialAutoencoder(adversary, autoencoder)


def _alignment_config(
    config: PreDiffConfig, functional: Callable[[torch.Tensor], torch.Tensor], name: str
) -> KnowledgeAlignmentConfig:
    """A network half as wide as the denoiser, for a functional tried on a field of zeros."""
    frames = torch.zeros(1, config.horizon, *config.frame_grid, config.autoencoder.output_channels)
    values = functional(frames)
    if values.ndim not in (2, 3) or len(values) != 1 or (values.ndim == 3 and values.shape[1] != config.horizon):
        wanted = f"(batch, {config.horizon}, numbers) for frames (batch, {config.horizon}, ...), or (batch, numbers)"
        raise InvalidOption("shape of the functional", tuple(values.shape), wanted)
    denoiser = config.denoiser
    per_frame = values.ndim == 3
    heads = denoiser.block.heads
    width = max(heads, denoiser.base_channels // 2 // heads * heads)
    if width > 16:
        width = width // 16 * 16  # the read-out normalises in groups of 32 of twice the width
    return KnowledgeAlignmentConfig(
        horizon=config.horizon, grid=denoiser.grid, channels=denoiser.channels, base_channels=width,
        depths=(1,) * min(2, denoiser.levels), downsample=denoiser.downsample, block=denoiser.block,
        output_channels=values.shape[-1], per_frame=per_frame, functional=name, strength=OWN_NETWORK_STRENGTH,
    )  # fmt: skip


def _in_latent(constraint: Any) -> bool:
    """Whether the residual is of the clean latent and not of the frames."""
    return getattr(constraint, "space", "decoded") == "latent"


def _filled(y: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Zero where the weight is zero, so that nothing missing is encoded."""
    return y if weight is None else torch.where(weight == 0, 0.0, y)
