"""How do weights become masks?"""
