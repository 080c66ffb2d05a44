"""How is the forecast learned? Known units, maps from features to scores, and which errs least on what it never saw."""
