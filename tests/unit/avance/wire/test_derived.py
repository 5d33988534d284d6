"""One secret for each use: the published rule, and nothing that gives away another one."""

from __future__ import annotations

import hashlib
import hmac

from avance.wire import derived
from tests.unit.avance.site import SECRET, full_site

WHOLE = bytes.fromhex(SECRET)


def test_each_follows_from_the_site_by_the_published_rule() -> None:
    """As the schemas tell it to whoever sets up a witness or a BMC without our tool."""
    word = hmac.new(WHOLE, b"avance witness 2 w1", hashlib.sha256).hexdigest()
    assert derived.of_witness(WHOLE, "w1").hex() == word
    assert derived.of_heartbeats(WHOLE) == hmac.new(WHOLE, b"avance heartbeat 1", hashlib.sha256).digest()
    assert derived.of_moves(WHOLE) == hmac.new(WHOLE, b"avance move 1", hashlib.sha256).digest()
    assert derived.of_replication(WHOLE) == hmac.new(WHOLE, b"avance drbd 1", hashlib.sha256).hexdigest()[:60]
    assert derived.of_bmc(bytes(32), "a") == "h5wu3qgbqrh3fage"


def test_no_two_uses_share_one() -> None:
    """Every text of a site with everything is another one, and the site's secret is in none of the derived ones."""
    found = derived.every(full_site())
    assert len(set(found)) == len(found) == 11
    assert found[0] == SECRET
    assert not [text for text in found[1:] if SECRET[:16] in text]


def test_every_secret_of_the_site_is_named() -> None:
    """Given and derived ones, of both nodes; a site without extras has three of its own."""
    found = derived.every(full_site())
    assert {"pass-of-a", "pass-of-b", "t0ken-of-the-tests", derived.of_witness(WHOLE, "w2").hex()} <= set(found)
    bare = full_site(witnesses=[], call_home=None)
    for entry in bare["nodes"].values():
        entry["bmc"] = None
    assert len(derived.every(bare)) == 6


def test_a_bmc_without_a_password_has_the_derived_one() -> None:
    """It is among the secrets, and any BMC takes it: letters and digits, at most 16."""
    site = full_site()
    del site["nodes"]["b"]["bmc"]["password"]
    password = derived.of_bmc(WHOLE, "b")
    assert password in derived.every(site)
    assert len(password) == 16
    assert password.isalnum()
