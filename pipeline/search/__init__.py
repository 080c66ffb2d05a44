"""Which experiment is the best one? Trials, the noise floor, the leaderboard of runs, the selection of an ensemble.

What is decided on existing predictions - thresholds, rules, post-processing - is in `pipeline/tuning/`.
"""
