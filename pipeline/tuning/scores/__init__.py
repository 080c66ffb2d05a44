"""What is a candidate decision worth: the units that are scored, their score tables, the criteria?"""
