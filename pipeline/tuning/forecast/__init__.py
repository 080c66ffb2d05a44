"""How the forecast is learned: known units, maps from features to scores, and which errs least on what it never saw."""
