"""How is a network trained on one fold?"""
