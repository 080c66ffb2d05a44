"""What runs offline on the host's machine, and how is that tried out beforehand?"""
