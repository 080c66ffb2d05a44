"""How are training samples varied?"""
