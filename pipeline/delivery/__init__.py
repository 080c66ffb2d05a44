"""How is a finished run delivered: as a bundle, as a submission?"""
