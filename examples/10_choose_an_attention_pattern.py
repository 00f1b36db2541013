"""
Choose an attention pattern
===========================

You will learn

- what cuboids are, and how a pattern strings several cuts of space-time together;
- what each pattern costs;
- how to give a model the one you want.
"""

# %%
# Cuts of space-time
# ------------------
# Attention among all points of a radar sequence is out of reach. Cuboid attention cuts the sequence into cuboids and
# attends inside each: along time at one place, along a row, in a window. Layers with different cuts, one after the
# other, connect everything with everything. Below, points of one colour attend to one another; a row is a pattern, a
# column one of its layers, on 2 frames of 8 by 8 points.

import matplotlib.pyplot as plt
import numpy as np
import torch

from xforecast.models import BlockConfig, DecoderConfig, Earthformer, EarthformerConfig, EncoderConfig
from xforecast.models.blocks.cuboid import Partition
from xforecast.models.blocks.patterns import self_cuboids
from xforecast.models.cost import macs

patterns = ["full", "axial", "divided_st", "video_swin_2x4", "spatial_lg_4"]
grid = (2, 8, 8)
fig, axes = plt.subplots(len(patterns), 3, figsize=(8, 9), layout="constrained")
for name, row in zip(patterns, axes, strict=True):
    cuboids = self_cuboids(name, grid)
    for axis in row[len(cuboids) :]:
        axis.axis("off")
    for axis, cuboid in zip(row, cuboids, strict=False):
        partition = Partition.of(cuboid.fitted(grid), grid)
        seams = partition.reassemble(partition.regions()[None, ..., None].float())[0, ..., 0]
        group = np.unique(27 * partition.numbers() + seams, return_inverse=True)[1].reshape(grid)
        frames = plt.get_cmap("turbo")(0.618 * group % 1)
        axis.imshow(np.concatenate([frames[0], np.ones((8, 1, 4)), frames[1]], axis=1))
        kind = "dilated " if "dilated" in cuboid.strategy else "shifted " if any(cuboid.shift) else ""
        axis.set(xticks=[], yticks=[], title=f"{kind}{cuboid.size[0]} x {cuboid.size[1]} x {cuboid.size[2]}")
    row[0].set_ylabel(name)

# %%
# What they cost
# --------------
# Multiply-accumulates of one forecast, 10 frames in and 10 out, counted without computing anything. Attention among all
# points grows with the square of their number; the others grow with the number.


def cost(pattern: str, size: int) -> float:
    """Billions of multiply-accumulates of a network with that pattern on a square grid."""
    encoder, decoder = EncoderConfig(cuboids=pattern), DecoderConfig(cuboids=pattern)
    block = BlockConfig(relative_position=False)  # a table that costs no products
    config = EarthformerConfig(history=10, horizon=10, grid=(size, size), encoder=encoder, decoder=decoder, block=block)
    with torch.device("meta"):
        return macs(Earthformer(config), (10, size, size, 1)) / 1e9


sizes = [16, 32, 64]
axis = plt.subplots(figsize=(6, 3.5), layout="constrained")[1]
for name in patterns:
    axis.loglog(sizes, [cost(name, size) for size in sizes], marker="o", label=name)
axis.set(xlabel="cells along a side", ylabel="10$^9$ multiply-accumulates", xticks=sizes, xticklabels=sizes)
axis.minorticks_off()
axis.legend(frameon=False)

# %%
# Axial attention is the default, as in the paper. A pattern is a word in the configuration,
# ``EncoderConfig(cuboids="divided_st")``; a tuple of `xforecast.models.Cuboid` of your own can stand in its place.
