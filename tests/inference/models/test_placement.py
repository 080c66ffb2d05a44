"""Models and views leave tensors on the device of their input; fake tensors raise where two devices meet."""

from __future__ import annotations

import pytest
import torch
from elsewhere import GPU, moved
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from inference.config import InputConfig, ModelConfig
from inference.models import build_model
from inference.models.table import MODELS
from inference.predict.tta import build_views
from inference.predict.tta_names import D4

# fake tensors have no values, and these look at some while they are built
LOOKING = {"dpt", "maskformer", "segformer", "swin_segformer", "swin_upernet"}
DEEPER = {"fc_densenet67", "fc_densenet103"}  # fc_densenet56 with more of the same layers
VIEWS = [*D4, "scale:0.75", "brightness:0.1", "stain:0.1"]


@pytest.mark.parametrize("name", sorted(set(MODELS) - LOOKING - DEEPER))
def test_models_stay_on_the_device_of_their_input(name: str) -> None:
    config = ModelConfig(architecture=name, encoder=MODELS[name].encoder or "tf_efficientnet_lite0")
    with FakeTensorMode(), torch.no_grad():
        model = moved(build_model(config))
        depth = (20,) if MODELS[name].dims == 3 else ()
        images = torch.randn(2, 3, *depth, 101, 83, device=GPU)
        outputs = model.train()(images)
        logits = outputs if isinstance(outputs, torch.Tensor) else outputs["logits"]
        assert logits.device == model.eval()(images).device == GPU


class Absent(nn.Module):
    """Holds a constant that does not move with the module, as a fault would."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(1, 3, 1, 1)


def test_a_tensor_that_stays_behind_is_seen() -> None:
    with FakeTensorMode(), pytest.raises(RuntimeError, match="device"):
        moved(Absent())(torch.randn(2, 3, 8, 5, device=GPU))


@pytest.mark.parametrize("name", VIEWS)
def test_views_stay_on_the_device_of_their_input(name: str) -> None:
    with FakeTensorMode():
        (view,) = build_views([name], InputConfig())
        shown = view.forward(torch.randn(2, 3, 20, 30, device=GPU, dtype=torch.float16))
        back = view.inverse(shown[:, :1].float(), (20, 30))
        assert shown.device == back.device == GPU and back.shape == (2, 1, 20, 30)
