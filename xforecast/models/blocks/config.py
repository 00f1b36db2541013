"""What the blocks of cuboid attention of a model have in common: options, global vectors, behaviour of the original."""

from __future__ import annotations

from dataclasses import dataclass, field

from xforecast.errors import InvalidOption
from xforecast.models.blocks.layers import ACTIVATIONS, NORMS, FeedForward, Initialisation
from xforecast.models.blocks.resample import PADDINGS
from xforecast.models.contract import Config, check_choice, check_positive

__all__ = [
    "CHECKPOINTS",
    "DEFAULT_BLOCK",
    "NO_QUIRKS",
    "ORIGINAL",
    "ORIGINAL_LATENT",
    "BlockConfig",
    "GlobalVectorConfig",
    "Quirks",
]

CHECKPOINTS = ("none", "feed_forward", "all")
"""Which layers are computed again for the gradient to save memory."""


@dataclass(frozen=True)
class BlockConfig(Config):
    """What all attention blocks of a model share.

    Parameters
    ----------
    heads : int
        Attention heads.
    padding : {"ignore", "zeros", "nearest"}
        How a grid that is no multiple of the cuboid is filled up: with zeros that nothing attends to; with zeros that
        take part; or by a resize.
    relative_position : bool
        Add a learned bias to the scores for each offset between two tokens of a cuboid.
    self_projection : bool
        Linear layer after self-attention; cross-attention always has one.
    query_bias : bool
        Bias of the query, key and value projections.
    score_scale : float, optional
        Factor of the scores; ``1 / sqrt(width of a head)`` if left out.
    norm : {"layer_norm", "rms_norm", "none"}
        Normalisation before attention and feed-forward.
    activation : str
        Activation of the feed-forward layers, a name in :data:`~xforecast.models.blocks.layers.ACTIVATIONS`.
    gated : bool
        Gated feed-forward layers.
    attention_dropout, projection_dropout, feed_forward_dropout : float
        Shares that are dropped in training: of attention weights, of projected updates, of feed-forward outputs.
    checkpoint : {"none", "feed_forward", "all"}
        Save memory in training by computing these layers again for the gradient. Changes no number.
    initialisation : Initialisation
        Schemes of the linear layers.

    Examples
    --------
    >>> BlockConfig(heads=8, padding="zeros").padding
    'zeros'
    """

    heads: int = 4
    padding: str = "ignore"
    relative_position: bool = True
    self_projection: bool = True
    query_bias: bool = False
    score_scale: float | None = None
    norm: str = "layer_norm"
    activation: str = "gelu"
    gated: bool = False
    attention_dropout: float = 0.1
    projection_dropout: float = 0.1
    feed_forward_dropout: float = 0.1
    checkpoint: str = "none"
    initialisation: Initialisation = field(default_factory=Initialisation)

    def validate(self) -> None:
        check_positive("block.heads", self.heads)
        check_choice("block.padding", self.padding, PADDINGS)
        check_choice("block.norm", self.norm, NORMS)
        check_choice("block.activation", self.activation, ACTIVATIONS)
        check_choice("block.checkpoint", self.checkpoint, CHECKPOINTS)
        for name in ("attention_dropout", "projection_dropout", "feed_forward_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidOption(
                    f"block.{name}", getattr(self, name), "a share from 0 to less than 1", f"{name}=0.1"
                )

    def feed_forward(self, channels: int) -> FeedForward:
        """A feed-forward layer with these options."""
        return FeedForward(
            channels,
            activation=self.activation,
            gated=self.gated,
            norm=self.norm,
            dropout=self.feed_forward_dropout,
            initialisation=self.initialisation,
        )


@dataclass(frozen=True)
class GlobalVectorConfig(Config):
    """Global vectors: a few tokens that attend to everything and that everything attends to (Earthformer, sec. 3.1).

    Parameters
    ----------
    count : int
        Number of vectors; 0 for none.
    projections : {"shared", "separate"}
        Whether attention with global vectors uses the tokens' own queries, keys and values, or projections of its own.
    self_attention : bool
        Global vectors attend to one another too.
    width_ratio : int
        Width of a global vector relative to a token; other than 1 it needs separate projections.
    feed_forward : bool
        Feed-forward layers on the global vectors.
    decoder_self_attention, decoder_cross_attention : bool
        Use them in the decoder's self- and cross-attention; otherwise they serve the encoder only.
    decoder_update : bool
        The decoder's self-attention changes them for the layers that follow.

    Examples
    --------
    >>> GlobalVectorConfig(8, projections="separate", width_ratio=2).width_ratio
    2
    """

    count: int = 8
    projections: str = "shared"
    self_attention: bool = False
    width_ratio: int = 1
    feed_forward: bool = False
    decoder_self_attention: bool = False
    decoder_cross_attention: bool = False
    decoder_update: bool = True

    def validate(self) -> None:
        check_positive("global_vectors.count", self.count, least=0)
        check_positive("global_vectors.width_ratio", self.width_ratio)
        check_choice("global_vectors.projections", self.projections, ("shared", "separate"))
        if self.width_ratio != 1 and self.projections == "shared":
            raise InvalidOption(
                "global_vectors.width_ratio", self.width_ratio, "1", 'projections="separate" allows others'
            )


@dataclass(frozen=True)
class Quirks(Config):
    """Behaviour of the original implementation that its weights rely on; all off for a new model.

    Parameters
    ----------
    decoder_cuboids_from_history : bool
        Patterns of the decoder's self-attention are sized by the history instead of the horizon, so that a longer
        horizon is cut into pieces of the history's length.
    sliced_relative_index : bool
        Where a cuboid is larger than the grid, offsets are those of the first tokens of the full cuboid, which is wrong
        if height or width shrinks, instead of those of the fitted one.
    unordered_global_mask : bool
        With padding "ignore", the mask of global vectors over tokens lists places in the order of the grid while the
        tokens are in the order of cuboids, so that some real tokens are ignored and some padding is not.
    tiled_global_vectors : bool
        Where every frame of a batch is given the global vectors of its sample, frames are listed sample by sample and
        the vectors frame by frame, so that samples of one batch get each other's vectors.

    Examples
    --------
    >>> Quirks().decoder_cuboids_from_history
    False
    """

    decoder_cuboids_from_history: bool = False
    sliced_relative_index: bool = False
    unordered_global_mask: bool = False
    tiled_global_vectors: bool = False


DEFAULT_BLOCK, NO_QUIRKS = BlockConfig(), Quirks()

ORIGINAL = Quirks(decoder_cuboids_from_history=True, sliced_relative_index=True, unordered_global_mask=True)
"""Quirks of the published Earthformers."""

ORIGINAL_LATENT = Quirks(sliced_relative_index=True, unordered_global_mask=True, tiled_global_vectors=True)
"""Quirks of the published networks of PreDiff."""
