"""Which places of a map attend to each other under four cuts; drawn from the library's own partitions."""

import matplotlib.pyplot as plt
import numpy as np

from xforecast.models.blocks.cuboid import Partition
from xforecast.models.blocks.patterns import DILATED, Cuboid

CUTS = {
    "local": Cuboid((1, 4, 4)),
    "dilated": Cuboid((1, 4, 4), DILATED),
    "shifted": Cuboid((1, 4, 4), shift=(0, 2, 2)),
    "axial": Cuboid((1, 1, 8)),
}

figure, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
for axis, (name, cuboid) in zip(axes, CUTS.items(), strict=True):
    numbers = Partition.of(cuboid, (1, 8, 8)).numbers()[0].numpy()
    axis.imshow(numbers, cmap="Set2", vmin=0, vmax=7)
    axis.set_xticks(np.arange(-0.5, 8), labels=[])
    axis.set_yticks(np.arange(-0.5, 8), labels=[])
    axis.grid(color="white", lw=1)
    axis.tick_params(length=0)
    axis.set_title(name)
