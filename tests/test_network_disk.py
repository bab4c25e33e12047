"""Which folders lie on a network file system, by what the system says of its mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from itrcore import network_disk
from itrcore.network_disk import advice, kind_of

MOUNTS = """\
/dev/vda1 / ext4 rw 0 0
lab:/export /home nfs4 rw,vers=4.2,local_lock=none 0 0
lab:/two\\040words /data/two\\040words fuse.sshfs rw 0 0
/dev/vdb1 /home/me/scratch xfs rw 0 0
""".splitlines()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me/itr", "nfs4"),
        ("/homes/me", None),
        ("/home/me/scratch/itr", None),
        ("/data/two words/itr", "sshfs"),
        ("/data", None),
    ],
)
def test_the_nearest_mount_counts(folder: str, kind: str | None) -> None:
    assert kind_of(Path(folder), MOUNTS) == kind


def test_advice_is_given_until_dvc_is_set_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert advice(tmp_path) is None
    mounts = tmp_path / "mounts"
    mounts.write_text(f"lab:/export {tmp_path} nfs rw 0 0\n")
    monkeypatch.setattr(network_disk, "_MOUNTS", mounts)
    said = advice(tmp_path)
    assert said is not None and "(nfs)" in said and "dvc config --local core.hardlink_lock true" in said
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config.local").write_text("[core]\n    hardlink_lock = True\n")
    assert advice(tmp_path) is None
