"""How do probabilities become masks: thresholds, rules, instances, post-processing?"""
