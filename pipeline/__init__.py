"""What do I run, in what order?"""
