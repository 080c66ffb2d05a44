"""What does the host give, and what does it want back?"""
