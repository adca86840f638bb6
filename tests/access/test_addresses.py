from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.access.addresses import UNKNOWN, normal


@pytest.mark.parametrize(
    ("address", "spelling"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0DB8:0001:0002::ffff", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_one_client_has_one_spelling(address: str, spelling: str) -> None:
    assert normal(address) == spelling


@pytest.mark.parametrize(
    "address",
    [
        "",
        "unknown",
        "_hidden",
        "192.0.2.1, 192.0.2.2",
        "192.0.2.256",
        "192.0.2.1:",
        "a:1",
        "[192.0.2",
        "\n",
        "1",
    ],
)
def test_what_is_no_address_is_one_caller(address: str) -> None:
    assert normal(address) == UNKNOWN


@given(st.text(max_size=60))
def test_any_text_has_a_spelling(text: str) -> None:
    assert normal(text)


@given(st.ip_addresses())
def test_the_port_makes_no_difference(address: object) -> None:
    written = str(address)
    with_port = f"[{written}]:80" if ":" in written else f"{written}:80"
    assert normal(with_port) == normal(written)
