"""Which experiment is the best one? Trials, the noise floor, the leaderboard of runs, the selection of an ensemble.

What is decided on the predictions of runs that exist - thresholds, rules, post-processing - is `pipeline/tuning/`.
"""
