"""What was handed in, what did cross-validation promise, and what did the leaderboard say?"""
