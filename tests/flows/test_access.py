"""Who may reach the servers of `itr up`, by how it is started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from flows.access import Access
from itrcore.errors import ConfigError


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_this_machine_alone_nobody_is_asked_unless_the_user_wants_it(host: str, tmp_path: Path) -> None:
    access = Access(host, [], None, tmp_path)
    assert (access.warning(), access.password, access.header) == (None, None, {})
    here = "[::1]" if host == "::1" else host
    assert access.hosts(4200) == sorted({"127.0.0.1:4200", "localhost:4200", f"{here}:4200"})
    asking = Access(host, [], True, tmp_path)
    assert asking.password and asking.header and (tmp_path / "password").stat().st_mode & 0o77 == 0
    assert Access(host, [], True, tmp_path).password == asking.password  # kept, as MLflow keeps its accounts


def test_beyond_it_a_password_is_asked_for_or_a_warning_says_what_others_can_do(tmp_path: Path) -> None:
    access = Access("0.0.0.0", ["Lab.example.org"], None, tmp_path)
    assert access.password and "TLS" in str(access.warning())
    hosts = access.hosts(4200)
    own = {f"{socket.gethostname().lower()}:4200", "127.0.0.1:4200"}
    assert {*own, "lab.example.org:4200", "lab.example.org"} <= {*hosts}
    assert not {"*", "0.0.0.0", ""} & {*hosts}
    open_to_all = Access("0.0.0.0", [], False, tmp_path)
    assert open_to_all.password is None and "whoever reaches this machine" in str(open_to_all.warning())


def test_a_name_is_no_address_to_listen_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--host: 'lab\.example\.org' is no address"):
        Access("lab.example.org", [], None, tmp_path)
