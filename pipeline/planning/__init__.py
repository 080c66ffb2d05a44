"""How large a box of a volume should a network see, at which spacing, and how should it shrink it?"""
