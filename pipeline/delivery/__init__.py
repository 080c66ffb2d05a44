"""How does a finished run leave the house: as a bundle, as a submission?"""
