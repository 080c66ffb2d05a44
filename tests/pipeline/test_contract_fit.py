from __future__ import annotations

import pytest
from drawn_hosts import rle_contract

from pipeline.contract_fit import resolve
from pipeline.experiment import Experiment, list_experiments, load_experiment
from submissions.host.competition import load_competition


@pytest.mark.parametrize("name", list_experiments())
def test_every_experiment_loads_and_fits_its_contract(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name
    resolved = resolve(experiment, load_competition(experiment.competition))
    assert resolved.model.in_channels == experiment.input.channels * len(experiment.input.offsets)


def test_what_follows_from_the_contract_cannot_be_written_otherwise() -> None:
    with pytest.raises(ValueError, match=r"model\.in_channels is 7"):
        resolve(Experiment(name="x", competition="drawn", model={"in_channels": 7}), rle_contract())
    with pytest.raises(ValueError, match=r"prepare\.targets needs a contract with masks\.instances"):
        resolve(Experiment(name="x", competition="drawn", prepare={"targets": ["border"]}), rle_contract())
    with pytest.raises(ValueError, match=r"input\.pixel_size_um is 2, but drawn does not say how large its pixels are"):
        resolve(Experiment(name="x", competition="drawn", input={"pixel_size_um": 2.0}), rle_contract())
    instances = {**rle_contract().masks.model_dump(exclude_unset=True), "instances": True}
    bordered = Experiment(name="x", competition="drawn", prepare={"targets": ["border", "border"]})
    assert resolve(bordered, rle_contract(masks=instances)).model.classes == ["thing", "border"]
    with pytest.raises(ValueError, match=r"prepare\.targets names 'border', which is a class of drawn"):
        resolve(bordered, rle_contract(masks=instances, classes=["border"]))
    skipping = Experiment(name="x", competition="pets", predict={"skip_background": True})
    with pytest.raises(ValueError, match=r"predict\.skip_background cannot be used with exclusive classes"):
        resolve(skipping, load_competition("oxford-pets"))
    with pytest.raises(ValueError, match=r"train\.pseudo_soft cannot be used with exclusive classes"):
        resolve(Experiment(name="x", competition="pets", train={"pseudo_soft": True}), load_competition("oxford-pets"))
