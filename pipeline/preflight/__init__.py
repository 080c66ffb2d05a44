"""What would fail later? Asked before a stage does anything, of everything that the experiment names."""
