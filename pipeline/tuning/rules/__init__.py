"""Which threshold rules are there, how is each learned, and what is it worth on images it did not learn from?"""
