"""What can an experiment say, section by section?"""
