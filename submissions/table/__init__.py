"""What stands in a submission table, is it what the host wants, and what does it score?"""
