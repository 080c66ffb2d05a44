"""How is the forecast learned? Known units, maps from features to scores, and which map has the least error on units
that were left out.
"""
