"""Which areas does a labelling tool's document draw? One module a format; `Documents` finds out which it is."""

from submissions.host.polygons.documents import Documents, read_document
from submissions.host.polygons.outlines import Entry, Outline, draw, lie_elsewhere

__all__ = ["Documents", "Entry", "Outline", "draw", "lie_elsewhere", "read_document"]
