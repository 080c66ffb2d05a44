"""Networks of three dimensions: how do weights become the mask of a volume?"""
