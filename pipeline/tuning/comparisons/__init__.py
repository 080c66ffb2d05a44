"""Is a difference noise: two runs, test-time augmentation, shifts, ensembles, pair by pair?"""
