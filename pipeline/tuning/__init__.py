"""How is the decision learned from predictions, and what is it worth? Starts in `search.tune`; whole experiments are
compared in `pipeline.search`.
"""
