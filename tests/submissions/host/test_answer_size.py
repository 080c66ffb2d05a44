"""Masks at another size than their images: probabilities are averaged, truth is sampled, all of it scored there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host

from submissions.answers import answer_of, lint_answer
from submissions.answers.scoring import score_submission
from submissions.answers.show import draw_submission
from submissions.host.answer_size import mask_over_image, probs_at_answer, truth_at_answer
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.masks import Truth
from submissions.rle.codec import Dialect, encode
from submissions.table.findings import errors
from submissions.table.rows import answer_shape, assumed_shape
from submissions.table.scoring import Segmentation

HALF = (SHAPE[0] // 2, SHAPE[1] // 2)
SMALL = rle_contract(submission={"size": list(HALF)})


def test_probabilities_are_means_of_areas_and_truth_is_sampled() -> None:
    probs = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), np.uint8)
    small = probs_at_answer(SMALL, probs)
    blocks = probs.astype(float).reshape(2, HALF[0], 2, HALF[1], 2).mean(axis=(2, 4))
    assert small.dtype == np.uint8 and small.shape == (2, *HALF)
    assert np.abs(small - blocks).max() <= 0.5
    assert probs_at_answer(SMALL, small) is small and probs_at_answer(rle_contract(), probs) is probs
    larger = probs_at_answer(rle_contract(submission={"size": [80, 112]}), probs)
    assert larger.shape == (2, 80, 112) and np.abs(larger.mean() - probs.mean()) < 1
    mask = draw_mask(2)
    label = mask.astype(np.int32) * 5
    truth = truth_at_answer(SMALL, Truth(mask[None, None], ~mask[None], label[None], (1.0, 2.0, 3.0)))
    np.testing.assert_array_equal(truth.planes[0, 0], mask[1::2, 1::2])
    np.testing.assert_array_equal(truth.valid, ~mask[None, 1::2, 1::2])
    np.testing.assert_array_equal(truth.instances, label[None, 1::2, 1::2])
    assert truth.spacing == (1.0, 2.0, 3.0) and truth_at_answer(SMALL, truth) is truth
    np.testing.assert_array_equal(mask_over_image(truth.planes[0, 0], SHAPE)[::2, ::2], truth.planes[0, 0])


def test_a_table_of_small_masks_is_written_linted_scored_and_drawn(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    images = ListedImages(SMALL, tmp_path, list_images(SMALL, tmp_path, "test")[0])
    assert answer_shape(images, "test00") == (1, *HALF)
    out = tmp_path / "submission.csv"
    with answer_of(SMALL).begin(out, images) as writer:
        for number in range(2):
            small = Segmentation(draw_mask(100 + number)[None, None, 1::2, 1::2])
            writer.add(images.row(f"test{number:02d}"), small)
        writer.add_empty("test02")
        assert writer.finish().count == 3
    said = pd.read_csv(out, keep_default_na=False)["rle"].tolist()
    assert said[0] == encode(np.ascontiguousarray(draw_mask(100)[1::2, 1::2]), Dialect()) and said[2] == ""
    assert errors(lint_answer(out, SMALL, tmp_path)) == []
    assert score_submission(SMALL, out, out, tmp_path).score == 1
    large = tmp_path / "solution.csv"  # runs of the whole image reach beyond the small one
    assert "beyond" in str(lint_answer(large, SMALL, tmp_path)[0]) or errors(lint_answer(large, SMALL, tmp_path))
    draw_submission(SMALL, out, tmp_path, ["test00"], tmp_path / "x.png")
    (tmp_path / "test/test01.png").write_bytes(b"cut")
    assert assumed_shape(images, "test01", {}) == (1, *HALF)


@pytest.mark.parametrize("size", [[0, 5], [5, -1]])
def test_a_size_is_two_positive_numbers(size: list[int]) -> None:
    with pytest.raises(ValueError, match="both at least 1"):
        rle_contract(submission={"size": size})
