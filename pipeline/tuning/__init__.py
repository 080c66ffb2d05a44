"""How the decision is learned: rules, nested estimates, post-processing, ensembles, shifts; `search.tune` begins it."""
