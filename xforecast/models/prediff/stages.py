"""The three trainings of PreDiff, in order: its autoencoder, its denoiser, and a network for constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from xforecast.errors import InvalidOption
from xforecast.models.contract import Abilities, check_positive
from xforecast.models.prediff.adversary import AdversarialAutoencoder, AdversarialAutoencoderConfig
from xforecast.models.prediff.alignment import KnowledgeAlignmentConfig
from xforecast.models.prediff.autoencoder import Autoencoder, Posterior
from xforecast.models.prediff.config import FRAMES_AT_ONCE, PreDiffConfig

__all__ = ["STAGES", "AlignmentStage", "AutoencoderStage", "DenoiserStage", "TrainingStage"]

PREVIEW_FRAMES = 4
OWN_NETWORK_STRENGTH = 5.0
"""Default strength of guidance by a new alignment network, which works on normalised departures."""


class TrainingStage(nn.Module):
    """One part of a `PreDiff` as a module that any training loop can train, while the other parts stay as they are.

    It has the parameters of this part only, and shares them with the model.

    Parameters
    ----------
    model : PreDiff
        The model that the part belongs to.
    network : Module
        The part that is trained.

    Attributes
    ----------
    part : str
        Name of the part.
    options : tuple of str
        Names of the options that the stage takes.
    training_options : dict
        Options of training that this part has by default.
    encoded_pairs : int or None
        Number of pairs to be encoded before the training, by :meth:`encode_pairs`, where it learns from latents.

    Examples
    --------
    >>> from xforecast.models import AutoencoderConfig, CuboidUNetConfig, PreDiff
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

    abilities = Abilities(previews=True)
    part: str
    options: ClassVar[tuple[str, ...]] = ()
    training_options: ClassVar[Mapping[str, Any]] = {}
    encoded_pairs: int | None = None

    def __init__(self, model: Any, network: nn.Module):
        super().__init__()
        self.config = model.config
        self.network = network
        self._model = (model,)  # in a tuple, so that its other parts are no part of this module

    @property
    def model(self) -> Any:
        """The model that the part belongs to."""
        return self._model[0]

    def prepare(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Settle what the data decide before the part is trained.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
            Histories of some pairs of the training data.
        y : Tensor, (batch, horizon, height, width, channel)
            The frames that followed; missing values are NaN.
        """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast of the complete model."""
        return self.model(x)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """The part's own loss.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
            The histories.
        y : Tensor, (batch, horizon, height, width, channel)
            The frames that followed the histories.
        weight : Tensor, optional
            Broadcasts against `y`. Where it is zero `y` may be missing (NaN).
        """
        raise NotImplementedError

    def preview(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the part makes of one pair at this point of its training, to look at.

        Returns
        -------
        dict of str to Tensor
            ``observed`` and ``made`` frames, or the functional of both for the alignment network.
        """
        raise NotImplementedError

    def encode_pairs(self, data: Any, weight: torch.Tensor) -> Dataset:
        """Pairs of latents in place of pairs of frames, for a stage whose `encoded_pairs` is a number."""
        raise NotImplementedError

    def _apply(self, fn, recurse=True):
        # The stage is moved to a device together with the model that it shares its part with.
        self.model._apply(fn, recurse)
        return super()._apply(fn, recurse)


class AutoencoderStage(TrainingStage):
    """Train the autoencoder on single frames.

    Parameters
    ----------
    model : PreDiff
        The model that the part belongs to.
    adversary : AdversarialAutoencoderConfig or mapping, optional
        Train it against an adversary with these options.
    """

    part = "autoencoder"
    options = ("adversary",)

    def __init__(self, model: Any, *, adversary: AdversarialAutoencoderConfig | Mapping[str, Any] | None = None):
        super().__init__(model, model.autoencoder if adversary is None else _opposed(model.autoencoder, adversary))

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        frames = torch.cat([x, filled(y, weight)], dim=1)
        if weight is not None:
            weight = torch.cat([torch.ones_like(x), weight.expand_as(y)], dim=1)
        # Without gradients an adversary has no weight, so that the error alone is monitored.
        network: Any = self.network if self.training else self.model.autoencoder
        return network.loss(frames, weight=weight)

    @torch.no_grad()
    def preview(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        frames = torch.nan_to_num(y)[:, :PREVIEW_FRAMES]
        return {"observed": frames, "made": self.model.autoencoder(frames)}


class DenoiserStage(TrainingStage):
    """Train the denoiser in the latent space.

    Parameters
    ----------
    model : PreDiff
        The model that the part belongs to.
    encoded_pairs : int, optional
        Train on the latents of this many pairs, encoded once by :meth:`encode_pairs`, which saves the autoencoder's
        share of every step.
    """

    part = "denoiser"
    options = ("encoded_pairs",)
    training_options: ClassVar[Mapping[str, Any]] = {"average": 0.999}

    def __init__(self, model: Any, *, encoded_pairs: int | None = None):
        if encoded_pairs is not None:
            check_positive("encoded_pairs", encoded_pairs)
        super().__init__(model, model.denoiser)
        self.encoded_pairs = encoded_pairs
        self.logvar = model.logvar

    def prepare(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Set the scale of latents."""
        self.model.set_latent_scale(self.model.estimate_latent_scale(x.flatten(0, 1)[:, None]))

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Diffusion loss, of frames or, with `encoded_pairs`, of what :meth:`encode_pairs` gave."""
        return self._encoded_loss(x, y) if self.encoded_pairs else self.model.loss(x, y, weight)

    @torch.no_grad()
    def encode_pairs(self, data: Any, weight: torch.Tensor) -> Dataset:
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
            Pairs: latents of the history; and mean, log variance and mean weight of the target's latents.
        """
        model = self.model
        total = min(self.encoded_pairs or len(data), len(data))
        contexts, targets = [], []
        for number in range(total):
            x, y = (part[None] for part in data[number * len(data) // total])
            known = (weight * y.isfinite())[:1]
            posterior = model.autoencoder.encode(filled(y, known), chunk=FRAMES_AT_ONCE)
            cells = model.latent_weight(known, y)
            contexts.append(model.encode(x, chunk=FRAMES_AT_ONCE)[0].half())
            targets.append(torch.cat([posterior.mean, posterior.logvar, cells], dim=-1)[0].half())
        return TensorDataset(torch.stack(contexts), torch.stack(targets))

    def _encoded_loss(self, context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        model = self.model
        moments, cells = target[..., :-1].float(), target[..., -1:].float()
        clean = model.config.latent_scale * Posterior.of_moments(moments).sample()
        t, noise = model.draw_steps(len(clean)), torch.randn_like(clean)
        return model.diffusion_loss(clean, context.float(), t, noise, cells)

    @torch.no_grad()
    def preview(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        model = self.model
        if self.encoded_pairs:
            mean = model.config.latent_scale * Posterior.of_moments(y[..., :-1].float()).mean
            x, y = model.decode(x.float()), model.decode(mean)
        return {"history": x, "observed": torch.nan_to_num(y), "made": model(x)}


class AlignmentStage(TrainingStage):
    """Train a network that estimates from a noisy latent what constraints are about.

    Parameters
    ----------
    model : PreDiff
        The model that the part belongs to.
    functional : callable
        What the network learns to estimate: a function of the clean frames, from (batch, time, height, width, channel)
        to (batch, time, numbers), or to (batch, numbers) of all frames together.
    name : str, optional
        Name of the functional: constraints of that name are applied through the network. Left out, the network is that
        of the configuration.
    network : KnowledgeAlignmentConfig, optional
        Configuration of a new network; by default half as wide as the denoiser.
    """

    part = "alignment"
    options = ("functional", "name", "network")

    def __init__(
        self,
        model: Any,
        *,
        functional: Callable[[torch.Tensor], torch.Tensor] | None = None,
        name: str | None = None,
        network: KnowledgeAlignmentConfig | None = None,
    ):
        if functional is None:
            wanted = "the function of the frames that the network shall estimate"
            raise InvalidOption("functional", None, wanted, "functional=xforecast.models.MeanIntensity(0.0).functional")
        if name is not None:
            known = model.config.alignment
            if network is None and known is not None and known.functional == name:
                network = known
            model.add_alignment(network or _alignment_config(model.config, functional, name))
        super().__init__(model, model.required_alignment())
        self.functional = functional

    def prepare(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Set the mean and the spread of the functional."""
        model = self.model
        values = self.functional(torch.nan_to_num(y)).float()
        deviation = float(values.std()) or 1.0
        config = replace(self.network.config, output_mean=float(values.mean()), output_deviation=deviation)  # type: ignore[type-var]
        model.config = replace(model.config, alignment=config)
        self.network.config = config

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        return self.model.alignment_loss(y, self.functional, weight)

    @torch.no_grad()
    def preview(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        y = torch.nan_to_num(y)
        t = torch.zeros(len(y), dtype=torch.long, device=y.device)
        return {"observed": self.functional(y), "made": self.network(self.model.encode(y), t)}


STAGES: dict[str, type[TrainingStage]] = {
    "autoencoder": AutoencoderStage,
    "denoiser": DenoiserStage,
    "alignment": AlignmentStage,
}
"""The trainings by the part that they train, in their order."""


def filled(y: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """The frames with zero where the weight is zero, so that nothing missing is encoded."""
    return y if weight is None else torch.where(weight == 0, 0.0, y)


def _opposed(autoencoder: Autoencoder, adversary: AdversarialAutoencoderConfig | Mapping[str, Any]) -> nn.Module:
    """The autoencoder with an adversary."""
    if not isinstance(adversary, Mapping | AdversarialAutoencoderConfig):
        raise InvalidOption(
            "adversary", adversary, "a mapping of its options, which may be empty, or None", "adversary={}"
        )
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
        remedy = "functional=lambda field: field.mean(dim=(2, 3, 4))[..., None]"
        raise InvalidOption("shape of the functional", tuple(values.shape), wanted, remedy)
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
