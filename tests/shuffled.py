"""A plugin of pytest: the order of the tests is drawn anew in each run, so that none leans on what another one left.

Files come in random order, and the tests of each file, too. The order follows from a number that is printed at the
end. `--order NUMBER` gives the same order again, also to a part of the tests. `-p no:tests.shuffled` leaves all as is.
"""

from __future__ import annotations

import os
from hashlib import blake2b

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that repeats an order."""
    parser.addoption("--order", type=int, help="the number that an earlier run printed for its random order")


def pytest_configure(config: pytest.Config) -> None:
    """Draw the number when none is given."""
    if config.option.order is None:
        config.option.order = int.from_bytes(os.urandom(4))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests into the order of this run; who has an order of its own, as worth.py, sorts afterwards."""
    number = config.option.order
    items.sort(key=lambda item: (drawn(number, item.nodeid.partition("::")[0]), drawn(number, item.nodeid)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the number even in a quiet run."""
    terminalreporter.write_line(f"order of this run: --order={config.option.order}")


def drawn(number: int, name: str) -> bytes:
    """Return the place that a number gives to a name, whatever other names there are."""
    return blake2b(f"{number} {name}".encode(errors="replace"), digest_size=8).digest()
