from tests.reached_lines import judged

RECORD = {"lines": 1000, "percent": 90.0}


def test_less_than_the_record_fails_and_more_becomes_the_record() -> None:
    for percent, will_do, is_new in (
        (89.8, False, False),
        (89.95, True, False),
        (90.2, True, True),
    ):
        sentence, *found = judged({"lines": 1100, "percent": percent}, RECORD)
        assert found == [will_do, is_new]
        assert sentence.startswith(f"coverage: {percent:.1f} % of 1,100 lines")
    assert judged(RECORD, None)[1:] == (True, True)
