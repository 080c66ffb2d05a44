"""Which patch, spacing, batch and number of steps suit these images and this machine?"""
