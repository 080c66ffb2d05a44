"""What would a first contract be, judging by the host's files alone?"""
