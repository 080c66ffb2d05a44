"""What would fail in a later stage? Checked before any stage starts, for everything that the experiment names."""
