"""What answers must be the Airflow that was asked for, whatever a tag or a label says."""

import pytest

from common.errors import UserError
from lab.base import image_build, require_version


@pytest.mark.parametrize(
    ("asked", "reported"),
    [("3.3.2", "3.3.2"), ("3.3.2", "3.3.2+mine.1"), ("3.4.0.b2", "3.4.0b2"), ("head", "head")],
)
def test_a_version_is_the_same_however_it_is_written(asked: str, reported: str) -> None:
    require_version(asked, reported)


@pytest.mark.parametrize(
    ("asked", "reported"),
    [("3.3.2", "3.0.6"), ("3.4.0", "3.4.0b2"), ("3.4.0b2", "3.4.0"), ("3.3.2", "head")],
)
def test_another_version_is_refused_with_both(asked: str, reported: str) -> None:
    with pytest.raises(UserError) as caught:
        require_version(asked, reported)
    assert asked in caught.value.message
    assert f"reports {reported}." in caught.value.message
    assert "tag" in caught.value.hint


def test_an_image_is_the_build_that_its_digest_is_whatever_its_tag() -> None:
    one, other = ("docker.io/apache/airflow@sha256:" + digit * 64 for digit in "ab")
    assert image_build([one, one]) == image_build(["sha256:" + "a" * 64]) == "a" * 12
    assert image_build([one]) != image_build([other])
    assert image_build([one, other]) not in (image_build([one]), image_build([other]))
    assert image_build(["", "apache/airflow:3.0.6"]) == ""
