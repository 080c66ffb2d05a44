"""Which images are there, in which fold, and how do they lie on disk for training?"""
