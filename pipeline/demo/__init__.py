"""Does it all work? The demo: a small real competition from its files to a scored submission."""
