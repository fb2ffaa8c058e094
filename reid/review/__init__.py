"""People decide last: the pairs most worth a look, on one page that gives decisions back as a CSV.

questions.py  which pairs, why they are asked, what an answer would change, what else to look at
review_page.py       one HTML file, to be opened from disk; `reid.catalogue.read_decisions` reads its CSV
"""

from reid.review.questions import Question, Side, best_questions, questions
from reid.review.review_page import Written, shown_ids, write_review

__all__ = [
    "Question",
    "Side",
    "Written",
    "best_questions",
    "questions",
    "shown_ids",
    "write_review",
]
