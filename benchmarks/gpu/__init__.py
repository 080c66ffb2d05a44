"""What does a GPU do with this? Everything that a few borrowed minutes can tell, by one command."""
