"""Which image is in which fold, and is that honest?"""
