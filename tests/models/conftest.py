"""Settings of the property tests, and repeatable random numbers."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("models", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("models")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
