"""The prediction file: what is written is read, in any pieces; what is unfinished is not there."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from inference.predict.store import NotANumberError, PredictionWriter, open_prediction, quantise, write_prediction


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 3, 2), (2, 700, 530), (2, 3, 40, 55), (1, 1, 513, 1025)])
def test_round_trip(tmp_path: Path, shape: tuple[int, ...]) -> None:
    probs = drawn(*shape)
    names = ["a", "b"][: shape[0]]
    path = write_prediction(tmp_path / "deep" / "image.h5", probs, names, {"image_id": "x"})
    with open_prediction(path) as prediction:
        assert (prediction.channels, prediction.shape, prediction.attrs) == (names, shape, {"image_id": "x"})
        np.testing.assert_array_equal(prediction.read(), probs)
        np.testing.assert_array_equal(prediction.read("a", rows=slice(1, 3)), probs[0][..., 1:3, :])
    assert [found.name for found in path.parent.iterdir()] == ["image.h5"]


def test_any_hdf5_reader_understands_the_file(tmp_path: Path) -> None:
    probs = drawn(1, 90, 70)
    with h5py.File(write_prediction(tmp_path / "image.h5", probs, ["mask"])) as file:
        assert file["probs"].compression == "gzip"
        np.testing.assert_array_equal(file["probs"][:], probs)


@pytest.mark.parametrize("step", [1, 7, 512, 600])
def test_rows_in_pieces_equal_rows_at_once(tmp_path: Path, step: int) -> None:
    probs = drawn(2, 1100, 31)
    with PredictionWriter(tmp_path / "image.h5", ["a", "b"], (1100, 31)) as writer:
        for row in range(0, 1100, step):
            writer.write_rows(probs[:, row : row + step])
    with open_prediction(tmp_path / "image.h5") as prediction:
        np.testing.assert_array_equal(prediction.read(), probs)


def test_a_slice_of_a_volume(tmp_path: Path) -> None:
    probs = drawn(2, 3, 20, 30)
    with open_prediction(write_prediction(tmp_path / "image.h5", probs, ["a", "b"])) as prediction:
        np.testing.assert_array_equal(prediction.read(1, z=2, cols=slice(4, 9)), probs[1, 2, :, 4:9])


def test_an_exception_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="stopped"),
        PredictionWriter(tmp_path / "image.h5", ["a"], (5, 4)) as writer,
    ):
        writer.write_rows(drawn(1, 2, 4))
        raise RuntimeError("stopped")
    assert not list(tmp_path.iterdir())


def test_missing_rows_are_no_prediction(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="0 of 2 slices are complete"),
        PredictionWriter(tmp_path / "image.h5", ["a"], (2, 5, 4)) as writer,
    ):
        writer.write_rows(drawn(1, 3, 4))
    assert not list(tmp_path.iterdir())


def test_rows_come_in_order_and_in_shape(tmp_path: Path) -> None:
    with PredictionWriter(tmp_path / "image.h5", ["a"], (2, 5, 4)) as writer:
        with pytest.raises(ValueError, match="must come in order"):
            writer.write_rows(drawn(1, 5, 4), 1)
        with pytest.raises(ValueError, match="must come in order"):
            writer.write_rows(drawn(1, 6, 4), 0)
        with pytest.raises(ValueError, match="expected uint8 1 x n x 4"):
            writer.write_rows(drawn(1, 5, 4).astype(np.float32))
        for z in range(2):
            writer.write_rows(drawn(1, 5, 4), z)


def test_quantise_rounds_to_the_nearest_with_ties_up() -> None:
    probs = np.array([-1, 0, 0.5, 0.5 - 1e-7, 0.25, 1, 2, 0.498], dtype=np.float32)
    assert quantise(probs).tolist() == [0, 0, 128, 128, 64, 255, 255, 127]


def test_what_is_not_a_number_is_not_stored_as_nothing() -> None:
    with pytest.raises(NotANumberError, match="precision=fp32"):
        quantise(np.array([[0.5, np.nan, 0.2]], dtype=np.float32))


@pytest.mark.parametrize("level", range(256))
def test_quantise_keeps_every_stored_value(level: int) -> None:
    assert quantise(np.array([level / 255], dtype=np.float32))[0] == level


def test_bad_names_and_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="each once"):
        PredictionWriter(tmp_path / "image.h5", ["a", "a"], (5, 4))
    with pytest.raises(ValueError, match=r"expected \(height, width\)"):
        PredictionWriter(tmp_path / "image.h5", ["a"], (5,))
    with pytest.raises(ValueError, match="expected 2 x"):
        write_prediction(tmp_path / "image.h5", drawn(1, 5, 4), ["a", "b"])


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no prediction at"):
        open_prediction(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match="not a readable HDF5 file"):
        open_prediction(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(ValueError, match="prediction format None, expected 1"):
        open_prediction(tmp_path / "other.h5")


def test_unknown_channels_and_slices_are_named(tmp_path: Path) -> None:
    with open_prediction(write_prediction(tmp_path / "image.h5", drawn(1, 5, 4), ["a"])) as prediction:
        with pytest.raises(ValueError, match=r"no channel 'b', expected one of \['a'\]"):
            prediction.read("b")
        with pytest.raises(ValueError, match="single image"):
            prediction.read(0, z=1)


def test_nothing_is_predicted_where_there_is_no_data(tmp_path: Path) -> None:
    probs, valid = drawn(2, 2, 700, 31), np.random.default_rng(0).random((700, 31)) > 0.5
    with PredictionWriter(
        tmp_path / "image.h5", ["background", "b"], (2, 700, 31),
        valid=lambda z, rows: valid[rows] if z else None, blank=[255, 0],
    ) as writer:  # fmt: skip
        for z in range(2):
            for row in range(0, 700, 90):
                writer.write_rows(probs[:, z, row : row + 90], z)
    with open_prediction(tmp_path / "image.h5") as prediction:
        found = prediction.read()
    np.testing.assert_array_equal(found[:, 0], probs[:, 0])
    np.testing.assert_array_equal(found[:, 1], np.where(valid, probs[:, 1], np.array([255, 0])[:, None, None]))
