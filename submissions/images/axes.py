"""Which axis of a bare array is which: declared by the contract, or guessed from sizes and from the mask's shape."""

from __future__ import annotations

from pathlib import Path

MOST_CHANNELS = 16  # an axis up to this length can be channels (bands) or points of time
LETTERS = "TZHWC"
SLICES_LAST = "HWCZ"  # pictures one behind the other, as MATLAB stacks them


def check_letters(axes: str) -> str:
    """`axes` in capitals; ValueError where they are not H and W, and C, Z, T at most once."""
    letters = axes.upper()
    if set(letters) - set(LETTERS) or len(set(letters)) != len(letters) or not {"H", "W"} <= set(letters):
        raise ValueError(f"images.axes {axes!r}: expected H and W, with C, Z or T once at most, such as HWC or ZHW")
    return letters


def check_axes(axes: str, shape: tuple[int, ...], path: Path) -> str:
    """Declared axes where they fit an array of `shape`; ValueError that says what was declared and what was found."""
    letters = check_letters(axes)
    if len(letters) != len(shape):
        raise ValueError(f"{path}: images.axes {axes!r} names {len(letters)} axes, the array is {shape}")
    return letters


def guess_axes(shape: tuple[int, ...], path: Path) -> str:
    """Axes of an array from its sizes: the last is channels where it is short beside the others, the first slices.

    Raises ValueError for sizes that two readings fit equally well, and for five axes.
    """
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3:
        short = shape[2] <= 4 or (shape[2] <= MOST_CHANNELS and 4 * shape[2] <= min(shape[:2]))
        ambiguous = not short and max(shape[0], shape[2]) <= MOST_CHANNELS and shape[1] >= 4 * max(shape[0], shape[2])
        if not ambiguous:
            return "HWC" if short else "ZHW"
    if len(shape) == 4:
        return "ZHWC"
    raise ValueError(f"{path}: array {shape}: which axis is what cannot be told; say it in images.axes, e.g. CHW")


def axes_of_mask(axes: str, count: int) -> str | None:
    """Axes of a mask array of `count` axes beside images of these `axes`: as many as it has, channels left out."""
    for left_out in ("", "C", "TC", "ZC", "TZC"):
        letters = "".join(letter for letter in axes.upper() if letter not in left_out)
        if len(letters) == count and (left_out or "C" not in letters):
            return letters
    return None


def axes_of_pair(image: tuple[int, ...], mask: tuple[int, ...]) -> str | None:
    """Axes of an image array that fit a mask array of shape (H, W) or (Z, H, W), of HWCZ (H, W, Z); None where none do,
    or several.

    The axes that the mask has not are channels; of a mask (H, W) beside (H, W, n) nothing tells time from channels.
    """
    fits = {
        "HW": image, "HWC": image[:2], "CHW": image[1:], "ZHW": image, "ZHWC": image[:3], "CZHW": image[1:],
        "ZCHW": (image[0], *image[2:]), "HWZ": (image[-1], *image[:2]),
        SLICES_LAST: (*image[:2], image[-1]),
    }  # fmt: skip
    of_image = [axes for axes in fits if len(axes) == len(image)]
    found = [axes for axes in of_image if fits[axes] == mask]
    if len(image) == 3 and image == mask:
        return "ZHW"
    return found[0] if len(found) == 1 else None
