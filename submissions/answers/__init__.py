"""What is handed in, a table, mask images, label volumes, objects or points, and what does it score?"""

from submissions.answers.answer import Written
from submissions.answers.kinds import answer_of, answer_path, answer_place, check_answer, lint_answer

__all__ = [
    "Written",
    "answer_of",
    "answer_path",
    "answer_place",
    "check_answer",
    "lint_answer",
]
