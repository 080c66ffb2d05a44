"""What does the host's own file say that a table scores? Run apart from everything else, as it is."""
