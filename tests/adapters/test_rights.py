import os
import stat

import pytest

from omniformer.adapters.rights import usual_rights


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_gets_the_rights_that_the_umask_leaves(tmp_path, umask, expected):
    path = tmp_path / "model.safetensors"
    path.touch(mode=0o600)
    before = os.umask(umask)
    try:
        usual_rights(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == expected
    assert list(tmp_path.iterdir()) == [path]
