"""A contract while it is guessed: its sections, and sentences that say how each was guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml


@dataclass
class Draft:
    """Sections of the contract, and for each the sentences that say why. same: fields that equal {name} everywhere."""

    sections: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    same: list[str] = field(default_factory=list)

    def put(self, name: str, value: Any, *notes: str) -> None:
        """Add a section with the sentences that say how it was guessed."""
        self.sections[name] = value
        self.notes[name] = [f"guess: {note}" for note in notes]

    def rename(self, old: str, new: str) -> None:
        """Rename a field in the patterns of images and masks, and in the sentences about them."""
        for section in (self.sections["images"], self.sections["masks"]):
            for key in ("train", "test", "path", "valid", "file"):
                if key in section:
                    section[key] = section[key].replace(old, new)
        self.notes = {name: [note.replace(old, new) for note in notes] for name, notes in self.notes.items()}

    def text(self) -> str:
        """The YAML document, comment lines before each section."""
        lines = []
        for name, value in self.sections.items():
            lines += [f"# {note}" for note in self.notes[name]]
            dumped = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
            lines.append(f"{name}: " + dumped.removesuffix("...\n").strip())
        return "\n".join(lines) + "\n"
