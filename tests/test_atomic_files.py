"""Files that are written in one step."""

import pytest

from mnbench.atomic_files import write_atomically
from mnbench.errors import FileError


@pytest.mark.parametrize("name", ["n" * 255, "\N{CJK UNIFIED IDEOGRAPH-6A21}" * 85])
def test_longest_name(tmp_path, name):
    """A name of 255 bytes, the longest that file systems take, needs no shorter one for its temporary file."""
    write_atomically(tmp_path / name, b"1", durable=False)

    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_name_that_is_too_long(tmp_path):
    """Space does not help a name that is too long."""
    with pytest.raises(FileError, match="File name too long") as caught:
        write_atomically(tmp_path / ("n" * 256), b"1", durable=False)

    assert caught.value.hint == "choose a shorter name"
    assert not list(tmp_path.iterdir())
