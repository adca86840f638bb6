from __future__ import annotations

import re

from backend.chat.ids import ID_CHARS, TICKS_PER_S, new_id

AT_S = 1_700_000_000.0
LAST_S = 2**36 / TICKS_PER_S - 1


def test_an_id_is_as_long_as_any_and_of_safe_characters() -> None:
    for clock in (0.0, AT_S, LAST_S):
        assert re.fullmatch(r"[A-Za-z0-9_-]+", found := new_id(clock))
        assert len(found) == ID_CHARS


def test_ids_sort_by_when_they_were_made() -> None:
    made = [new_id(AT_S + tick / TICKS_PER_S) for tick in range(5000)]
    assert made == sorted(made)
    assert new_id(AT_S) < new_id() < new_id(LAST_S)


def test_ids_of_one_moment_differ_in_at_least_128_random_bits() -> None:
    made = {new_id(AT_S) for _ in range(3000)}
    assert len(made) == 3000
    assert len({found[:6] for found in made}) == 1
    random_places = [place for place in range(ID_CHARS) if len({found[place] for found in made}) == 64]
    assert random_places == list(range(6, ID_CHARS))
    assert len(random_places) * 6 >= 128
