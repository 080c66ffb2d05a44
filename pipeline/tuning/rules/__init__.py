"""Which threshold rules are there, how is each learned, and what is it worth on images that it was not learned from?"""
