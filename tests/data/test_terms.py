import pytest

from asc.data.download.packages import package_sets
from asc.data.manifest import SCHEMES
from asc.data.terms import terms_of
from asc.errors import InputError

KINDS = [word.partition(":")[0] for word in SCHEMES.replace(" or ", ", ").split(", ")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_has_terms(kind: str) -> None:
    terms = terms_of(f"{kind}:somewhere")
    assert terms.title and terms.sounds and terms.licence


def test_terms_match_the_licence_of_the_download() -> None:
    for packages in package_sets():
        assert terms_of(packages.spec).licence == packages.licence


def test_sets_that_are_not_scenes_carry_a_caution() -> None:
    caution = terms_of("esc10:x").caution
    assert caution is not None and "no figure on it is a scene classification result" in caution


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="data tape:x is of an unknown kind: write one of tau2020"):
        terms_of("tape:x")
