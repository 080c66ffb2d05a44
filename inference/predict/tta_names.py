"""Names of TTA views, for code that only needs the names; what a view does is in `tta`."""

from __future__ import annotations

from collections.abc import Sequence

MIRRORS = tuple(
    "+".join(part) or "identity"
    for part in (
        (), ("hflip",), ("vflip",), ("rot180",),
        ("zflip",), ("zflip", "hflip"), ("zflip", "vflip"), ("zflip", "rot180"),
    )
)  # fmt: skip
D4 = ("identity", "rot90", "rot180", "rot270", "hflip", "vflip", "transpose", "antitranspose")
SETS: dict[str, tuple[str, ...]] = {"d4": D4, "mirrors": MIRRORS}


def expand_views(names: Sequence[str]) -> list[str]:
    """Replace "d4" by the eight flips and quarter turns, "mirrors" by the eight of a volume; each view once."""
    expanded: list[str] = []
    for name in names:
        expanded += [one for one in SETS.get(name, (name,)) if one not in expanded]
    return expanded
