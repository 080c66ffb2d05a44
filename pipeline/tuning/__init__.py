"""How is the decision learned from predictions, and what is it worth? `search.tune` begins it; whole experiments are
chosen in `pipeline.search`.
"""
