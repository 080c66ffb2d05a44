"""What do mask files show: classes by value, colour, channel, file or table, observers, numbered objects?"""

from submissions.host.mask_images.object_tables import object_classes
from submissions.host.mask_images.pixels import Extent, colour_codes, colour_name, opaque_codes, read_pixels, stretch
from submissions.host.mask_images.reading import read_mask_images

__all__ = [
    "Extent",
    "colour_codes",
    "colour_name",
    "object_classes",
    "opaque_codes",
    "read_mask_images",
    "read_pixels",
    "stretch",
]
