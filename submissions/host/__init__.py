"""What does the host say: the contract, its settings, which images there are, how masks are given?"""
