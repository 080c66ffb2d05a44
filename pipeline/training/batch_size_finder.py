"""When a batch does not fit into a GPU: how large may it be?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from inference.predict.devices import fits_memory
from pipeline.settings.training import TrainSettings
from pipeline.training.loader import Batch


def largest_that_fits(attempt: Callable[[int], None], too_large: int) -> int:
    """Largest n below `too_large` for which `attempt(n)` does not run out of memory, by bisection; 0 where
    none.
    """
    fits, fails = 0, too_large
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if fits_memory(partial(attempt, middle)):
            fits = middle
        else:
            fails = middle
    return fits


def refuse_batch(batch: Batch, attempt: Callable[[Batch], None], settings: TrainSettings) -> ValueError:
    """The error that says which batch fits, found by trying; `attempt` makes gradients of a batch."""
    size = len(batch.names)
    fits = largest_that_fits(lambda count: attempt(batch.first(count)), size)
    height, width = batch.images.shape[-2:]
    what = f"the GPU's memory is too small for a batch of {size} patches of {height} x {width}"
    if not fits:
        return ValueError(f"{what}, even of one sample; use a smaller train.patch or encoder")
    steps = -(-size * settings.accumulate // fits)
    return ValueError(
        f"{what}; the largest that fits is {fits}: --set train.batch_size={fits} --set "
        f"train.accumulate={steps} keeps about as many samples per step"
    )
