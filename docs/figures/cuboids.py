"""Which places of a map attend to each other under four cuts; drawn from the library's own partitions."""

import matplotlib.pyplot as plt
import numpy as np

from xforecast.models.cuboid import Partition
from xforecast.models.patterns import DILATED, Cuboid

GRID = (1, 8, 8)
CUTS = {
    "local": Cuboid((1, 4, 4)),
    "dilated": Cuboid((1, 4, 4), DILATED),
    "shifted": Cuboid((1, 4, 4), shift=(0, 2, 2)),
    "axial": Cuboid((1, 1, 8)),
}

figure, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
for axis, (name, cuboid) in zip(axes, CUTS.items(), strict=True):
    partition = Partition.of(cuboid, GRID)
    tokens = partition.order()
    owner = np.empty(64, int)
    # order() lists places of the rolled grid; rolling back gives places on the map
    owner[tokens.numpy().ravel()] = np.repeat(np.arange(tokens.shape[0]), tokens.shape[1])
    owner = np.roll(owner.reshape(GRID), cuboid.shift, axis=(0, 1, 2))[0]
    axis.imshow(owner, cmap="tab10" if owner.max() > 3 else "Set2", vmin=0, vmax=9 if owner.max() > 3 else 7)
    axis.set_xticks(np.arange(-0.5, 8), labels=[])
    axis.set_yticks(np.arange(-0.5, 8), labels=[])
    axis.grid(color="white", lw=1)
    axis.tick_params(length=0)
    axis.set_title(name)
