"""Words for sentences: counts and lists of names."""

from asc.errors import counted, some


def test_one_is_said_without_an_s_and_thousands_have_commas() -> None:
    assert [counted(count, "trial") for count in (0, 1, 2, 12_345)] == [
        "0 trials",
        "1 trial",
        "2 trials",
        "12,345 trials",
    ]


def test_of_many_names_the_first_are_said_and_the_others_counted() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(map(str, range(12)), at_most=3) == "0, 1, 2 and 9 more"
