"""How is a mask written as runs, and read back? Every dialect, and nothing else."""
