"""PreDiff: forecasts drawn from a distribution, by diffusion in an autoencoder's latent space (Gao et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks import Tiles
from xforecast.models.catalogue import register
from xforecast.models.constraints import Constraint, as_constraint, is_latent, violation
from xforecast.models.contract import Abilities, check_choice, check_shape
from xforecast.models.prediff.alignment import KnowledgeAlignment, KnowledgeAlignmentConfig
from xforecast.models.prediff.autoencoder import Autoencoder
from xforecast.models.prediff.config import FRAMES_AT_ONCE, GUIDANCES, DiffusionSampling, PreDiffConfig
from xforecast.models.prediff.denoiser import CuboidUNet
from xforecast.models.prediff.guidance import DecoderGuidance, NetworkGuidance
from xforecast.models.prediff.samplers import SAMPLERS, Denoiser, sample, sample_noise, spaced_steps
from xforecast.models.prediff.stages import STAGES, TrainingStage, filled

__all__ = ["PreDiff", "SamplingReport"]

DECODER_STRENGTH = 1.0
"""Default strength of guidance through the decoder: every step removes all of the residual."""
GUIDANCE_CAP = 2.0
"""The cap of :class:`~xforecast.models.prediff.guidance.DecoderGuidance`. Without it a mean is reached by one shower of
800 mm/h."""


@dataclass(frozen=True)
class SamplingReport:
    """How well samples obey the constraint.

    Parameters
    ----------
    residual : Tensor, (n,)
        Norm of the residual of every finished sample.
    trace : Tensor, (n, steps)
        Norm of the residual before the correction of each step: that of the expected forecast, or that which the
        alignment network estimates.
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

    A field larger than the frames that the model was made for is sampled in one piece: the noise covers all of it, and
    at every step the denoiser's predictions for overlapping windows of the latent are joined
    (compare Bar-Tal et al. 2023).

    Parameters
    ----------
    config : PreDiffConfig
        Sizes and options of the model.

    Attributes
    ----------
    autoencoder : Autoencoder
        Takes frames to the latent space and back.
    denoiser : CuboidUNet
        Predicts the noise in a latent forecast.
    alignment : KnowledgeAlignment or None
        Estimates what constraints are about from a noisy latent, if the configuration has such a network.
    logvar : Parameter, (steps,), or None
        Learned log variance of each step's error.

    Examples
    --------
    >>> from xforecast.models import AutoencoderConfig, CuboidUNetConfig, PreDiffConfig
    >>> config = PreDiffConfig(
    ...     autoencoder=AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4),
    ...     denoiser=CuboidUNetConfig(
    ...         history=3, horizon=2, grid=(8, 8), channels=4, base_channels=16, depths=(1, 1)
    ...     ),
    ... )
    >>> model, x = PreDiff(config).eval(), torch.rand(1, 3, 16, 16, 1)
    >>> generators = [torch.Generator().manual_seed(sample) for sample in range(4)]
    >>> model.sample(x, torch.zeros(4, dtype=torch.long), torch.arange(4), generators, steps=5).shape
    torch.Size([4, 2, 16, 16, 1])
    """

    abilities = Abilities(
        samples=None,
        sampling=DiffusionSampling,
        any_grid=True,
        parts=tuple(STAGES),
        optional_parts=("alignment",),
        shares_context=True,
    )

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
            The frames.
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
            The histories.
        y : Tensor, (batch, horizon, height, width, channel)
            The frames that followed the histories.
        weight : Tensor, optional
            Broadcasts against `y`; every place of the latent has the mean weight of what it stands for. Where it is
            zero `y` may be missing (NaN).
        """
        with torch.no_grad():
            context = self.encode(x)
            clean = self._draw_latent(y, weight)
        t, noise = self.draw_steps(len(y)), torch.randn_like(clean)
        return self.diffusion_loss(clean, context, t, noise, self.latent_weight(weight, y))

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
            Diffusion step of each sample.
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
            Frames to learn from.
        functional : callable
            Function from frames to (batch, time, numbers), such as that of a constraint.
        weight : Tensor, optional
            Where it is zero `y` may be missing (NaN) and counts as zero.
        """
        alignment = self.required_alignment()
        with torch.no_grad():
            clean = self._draw_latent(y, weight)
            target = functional(filled(y, weight))
        t = self.draw_steps(len(y))
        z = self.config.schedule.add_noise(clean, t, torch.randn_like(clean))
        return alignment.loss(z, t.to(z.device), target)

    def stage(
        self, part: str, functional: Callable[[torch.Tensor], torch.Tensor] | None = None, **options: Any
    ) -> TrainingStage:
        """One of the three trainings, each with its own ``loss(x, y, weight)`` and parameters, to be done in order.

        Parameters
        ----------
        part : {"autoencoder", "denoiser", "alignment"}
            What is to be trained.
        functional : callable, optional
            What the alignment network shall estimate.
        **options
            Options of :class:`AutoencoderStage`, :class:`DenoiserStage` or :class:`AlignmentStage`.

        Raises
        ------
        InvalidOption
            For another part, or an option that the part does not have.
        """
        check_choice("part", part, STAGES)
        given = options if functional is None else {"functional": functional, **options}
        if unknown := sorted(given.keys() - set(STAGES[part].options)):
            wanted = f"options among {', '.join(STAGES[part].options)}"
            homes = [name for name, stage in STAGES.items() if unknown[0] in stage.options]
            remedy = f"give {unknown[0]} to the stage {homes[0]!r}" if homes else f"leave {unknown[0]}= out"
            raise InvalidOption(f"options of the stage {part!r}", unknown, wanted, remedy)
        return STAGES[part](self, **given)

    def add_alignment(self, config: KnowledgeAlignmentConfig) -> None:
        """Give the model a new alignment network, in place of the one that it may have."""
        self.config = replace(self.config, alignment=config)
        self.alignment = KnowledgeAlignment(config)

    def _draw_latent(self, y: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        return self.config.latent_scale * self.autoencoder.encode(filled(y, weight)).sample()

    def draw_steps(self, count: int) -> torch.Tensor:
        """Steps of the diffusion at random, (count,)."""
        return torch.randint(self.config.schedule.steps, (count,), device="cpu")

    def latent_weight(self, weight: torch.Tensor | None, y: torch.Tensor) -> torch.Tensor | None:
        """Mean weight of the cells that a place of the latent stands for, (batch, time, height, width, 1)."""
        if weight is None:
            return None
        factor = self.config.autoencoder.factor
        rows, columns = (-extent % factor for extent in self.config.frame_grid)
        cells = nn.functional.pad(weight.float().expand_as(y).mean(dim=-1), (0, columns, 0, rows))
        return nn.functional.avg_pool2d(cells, factor)[..., None]

    def required_alignment(self) -> KnowledgeAlignment:
        """The alignment network, or an error if there is none."""
        if self.alignment is None:
            wanted = "a model whose configuration has an alignment network"
            raise InvalidOption("alignment", None, wanted, "add_alignment(KnowledgeAlignmentConfig(...)) makes one")
        return self.alignment

    # ---------------------------------------------------------------- sampling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One sample for every history, always with the same noise; :meth:`sample` draws others.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
            The histories.

        Returns
        -------
        Tensor, (batch, horizon, height, width, channel)
        """
        generators = [torch.Generator().manual_seed(0) for _ in x]
        starts = torch.arange(len(x), device="cpu")
        return self.sample(x, starts, torch.zeros_like(starts), generators)  # type: ignore[return-value]

    def sample(
        self,
        x: torch.Tensor,
        starts: torch.Tensor,
        samples: torch.Tensor,
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
        x, starts, samples, generators
            Histories, and what is to be drawn of them; see :meth:`xforecast.models.contract.ProbabilisticModel.sample`.
            The fields of `x` may be larger than the model's frames.
        sampler : str
            A name in :data:`~xforecast.models.prediff.samplers.SAMPLERS`; ``"ddpm"`` is that of the paper.
        steps : int, optional
            Number of calls of the denoiser; by default what the sampler needs, 20 for the default sampler.
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
            What :meth:`encode_context` gave for `x`; it is computed if left out.
        chunk : int, optional
            Number of frames to encode and decode at a time; it changes the memory that is needed, not the result.
        report : bool
            Also return how well the samples obey the constraint, and would without guidance; the latter takes as long
            as samples without a constraint.

        Returns
        -------
        Tensor, (n, horizon, height, width, channel)
            The samples, followed by a :class:`SamplingReport` if `report`.

        Raises
        ------
        InvalidOption
            For options that cannot work.
        """
        config, tiles = self.config, self._tiles(x)
        grid = (x.shape[2], x.shape[3])
        if report and constraint is None:
            raise InvalidOption("report", True, "a constraint to report on", "constraint=, or report=False")
        # Guidance needs gradients, which tensors of inference mode cannot have.
        with torch.inference_mode(False), torch.no_grad():
            x, starts = x.clone(), starts.to(x.device)
            context = (self._encode_windows(x, tiles, chunk) if context is None else context.clone())[starts]
            denoise = self._denoiser_for(context, tiles)

            def decode(z: torch.Tensor) -> torch.Tensor:
                return self._decode_windows(z, tiles, grid, chunk)

            guided, wanted = None, None
            if constraint is not None:
                # What depends on the history, such as a value to conserve, is settled for each sample.
                wanted = as_constraint(constraint).prepare(x[starts])
                guidance = self._way(guidance, wanted, tiles)
                guided = self._guided(denoise, wanted, decode, strength, guidance, through_denoiser)
            latent = (config.horizon, *tiles.field, config.denoiser.channels)

            def draw(eps: Denoiser, sources: Sequence[torch.Generator]) -> torch.Tensor:
                noise = sample_noise(sources, latent, context)
                return sample(eps, noise(), config.schedule, noise, sampler=sampler, steps=steps, eta=eta)

            twins = [_twin(source) for source in generators] if report else []
            clean = draw(guided or denoise, generators)
            forecast = decode(clean)
            if not report or wanted is None:
                return forecast
            free = clean if guided is None else draw(denoise, twins)
            residual = self._residual(wanted, clean, forecast)
            unguided = residual if guided is None else self._residual(wanted, free, decode(free))
            trace = torch.stack(guided.trace, dim=1) if guided is not None else forecast.new_zeros(len(forecast), 0)
            return forecast, SamplingReport(residual, trace, unguided)

    def check_sampling(self, **given: Any) -> None:
        """Raise :class:`~xforecast.errors.InvalidOption` for options of :meth:`sample` that cannot work."""
        options = DiffusionSampling(**given)
        check_choice("sampler", options.sampler, SAMPLERS)
        if options.steps is not None:
            spaced_steps(options.steps, self.config.schedule.steps)
        if options.eta is not None and not 0 <= options.eta <= 1:
            raise InvalidOption("eta", options.eta, "a share between 0 and 1", "leave eta= out")
        check_choice("guidance", options.guidance, GUIDANCES)
        if options.strength is not None and not 0 <= options.strength < float("inf"):
            raise InvalidOption("strength", options.strength, "a number of at least 0", "leave strength= out")
        guidance = None if options.guidance == "auto" else options.guidance
        if options.constraint is not None:
            self._check_guidance(guidance, as_constraint(options.constraint))
            return
        for option, value in (("strength", options.strength), ("guidance", guidance)):
            if value is not None:
                remedy = f"constraint=, or leave {option}= out"
                raise InvalidOption(option, value, "a constraint to go with it", remedy)

    def _check_guidance(self, guidance: str | None, constraint: Constraint) -> None:
        if guidance == "network" and not self._estimates(constraint):
            found = self.alignment and self.alignment.config.functional
            raise InvalidOption(
                "guidance", guidance, f"a constraint named {found!r}, on which the alignment network was trained"
                if found else "a forecaster with an alignment network",
                "guidance='decoder' needs no network; xforecast.training.align_knowledge trains one",
            )  # fmt: skip

    def _estimates(self, constraint: Constraint) -> bool:
        """Whether the alignment network was trained on the functional of a constraint."""
        name = constraint.name
        return self.alignment is not None and name is not None and self.alignment.config.functional == name

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
        constraint: Constraint,
        decode: Callable[[torch.Tensor], torch.Tensor],
        strength: float | None,
        guidance: str,
        through_denoiser: bool,
    ) -> NetworkGuidance | DecoderGuidance | None:
        """The denoiser that obeys a constraint; None where its strength is zero."""
        if strength is None:
            strength = constraint.strength
        if strength is None:
            strength = self.required_alignment().config.strength if guidance == "network" else DECODER_STRENGTH
        if strength == 0:
            return None
        if guidance == "decoder":
            latent = is_latent(constraint)
            return DecoderGuidance(
                denoise, self.config.schedule, constraint.residual, self._unscaled if latent else decode, strength,
                through_denoiser=through_denoiser, cap=None if latent else GUIDANCE_CAP,
            )  # fmt: skip
        network = self.required_alignment()
        pull = strength / network.config.output_deviation
        return NetworkGuidance(denoise, self.config.schedule, network, constraint.compare, pull)

    def _way(self, guidance: str, constraint: Constraint, tiles: Tiles) -> str:
        """Through the network or through the decoder; the network has seen fields of one window only."""
        check_choice("guidance", guidance, GUIDANCES)
        if guidance == "auto":
            return "network" if self._estimates(constraint) and len(tiles) == 1 else "decoder"
        if guidance == "network" and len(tiles) > 1:
            wanted = f"a field of {self.config.frame_grid}, as the alignment network was trained on"
            raise InvalidOption("guidance", guidance, wanted, "guidance='decoder' takes fields of any size")
        return guidance

    def _unscaled(self, z: torch.Tensor) -> torch.Tensor:
        return z / self.config.latent_scale

    def _residual(self, constraint: Constraint, clean: torch.Tensor, forecast: torch.Tensor) -> torch.Tensor:
        """Norm of the residual of samples, (n,)."""
        return violation(constraint.residual(self._unscaled(clean) if is_latent(constraint) else forecast))


register(PreDiff, PreDiffConfig)


def _twin(source: torch.Generator) -> torch.Generator:
    """Another generator of the same numbers."""
    twin = torch.Generator()
    twin.set_state(source.get_state())
    return twin
