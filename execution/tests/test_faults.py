"""A few rows of ``make faults``, played beside each other by one executor; docs/faults.md.

The judge's controls are in test_faults_judge.py, the line's in test_faults_line.py.
"""

from __future__ import annotations

from typing import Final

import pytest

from execution.tests.faults import catalogue
from execution.tests.faults.ground import ground
from execution.tests.faults.play import play

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
#: Not a7: its second sends need seven of twelve seconds of grace, which a busy machine does not
#: leave, and a book that was seen 14 s late makes every proof of absence beside it take 21 s.
#: test_engine_duplicates.py plays the same with a broker to itself.
SHORT: Final = "a0,a1,a5,a6,a9,a10,b3,b8b,c9,c10,d11,d11b,r5b,r9,r21"


def test_the_short_matrix_is_right_at_the_brokers_book() -> None:
    with ground() as playground:
        rows = play(playground, catalogue.chosen(SHORT), accounts=2, together=12)
    assert {row.line(): row.verdict.problems for row in rows if not row.verdict.is_right} == {}
