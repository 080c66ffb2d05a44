"""Which model predicts which image, out of fold and for the test set, and what became of it?"""
