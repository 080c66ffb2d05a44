"""How does an image become probabilities: tiles, test-time augmentation, ensembles, in bounded memory?"""
