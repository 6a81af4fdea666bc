"""What answers must be the Airflow that was asked for, whatever a tag or a label says."""

import pytest

from lab.errors import LabError
from lab.reported import require_version


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
    with pytest.raises(LabError) as caught:
        require_version(asked, reported)
    assert asked in caught.value.message
    assert f"reports {reported}." in caught.value.message
    assert "tag" in caught.value.hint
