"""People decide last: the pairs most worth a look, on one page that gives decisions back as a CSV.

within.py       of which place, time and individual pictures are asked about
questions.py    which pairs, why they are asked, what an answer would change, what else to look at
workload.py     answers an hour, and how many questions remain
review_page.py  one HTML file, to be opened from disk; `reid.catalogue.read_decisions` reads its CSV
"""

from reid.review.questions import Asked, Question, Side, ask, best_questions
from reid.review.review_page import Written, shown_ids, write_review
from reid.review.within import EVERYWHERE, Within
from reid.review.workload import ERROR_SHARE, answers_an_hour, in_words, workload

__all__ = [
    "ERROR_SHARE",
    "EVERYWHERE",
    "Asked",
    "Question",
    "Side",
    "Within",
    "Written",
    "answers_an_hour",
    "ask",
    "best_questions",
    "in_words",
    "shown_ids",
    "workload",
    "write_review",
]
