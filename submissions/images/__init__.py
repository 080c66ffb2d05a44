"""How is a host's image file opened: its size without decoding, windows, whole pictures?"""
