"""How is one experiment's work shared out? Shards of a stage, printed jobs for any cluster, and Ray.

Which work there is to be shared out is decided elsewhere: trials are `pipeline/search/`, thresholds `pipeline/tuning/`.
"""
