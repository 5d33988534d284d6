"""Tests of the choice of Debian sources and of mmdebstrap's arguments; they must never start it."""

from pathlib import Path

import pytest

from images.debian import KEYRING, Tree, arguments, sources
from images.errors import BuildError


def test_only_the_release_and_its_suites_are_taken() -> None:
    """Updates and security belong to the release; other releases do not."""
    targets = (
        "http://m.invalid/d bookworm main\nhttp://m.invalid/s bookworm-security main\nhttp://m.invalid/d trixie main\n"
    )
    assert sources(targets).splitlines() == [
        f"deb [signed-by={KEYRING}] http://m.invalid/d bookworm main",
        f"deb [signed-by={KEYRING}] http://m.invalid/s bookworm-security main",
    ]


def test_a_repeated_source_is_taken_once() -> None:
    """Several index files of one source give one line."""
    assert len(sources("http://m.invalid/d bookworm main\n" * 3).splitlines()) == 1


@pytest.mark.parametrize("targets", ["", "http://m.invalid/d trixie main\n"])
def test_no_source_is_an_error_that_says_what_to_do(targets: str) -> None:
    """A host without a source of the release gets a sentence, not a failed download."""
    with pytest.raises(BuildError, match="apt-get update"):
        sources(targets)


def test_the_arguments_carry_packages_excludes_and_hooks_in_order() -> None:
    """Hooks run in the given order, and recommended packages are left out."""
    built = arguments(Tree("minbase", ("a", "b"), ("first", "second"), ("/x/*",)), Path("list"))
    assert "--include=a,b" in built
    assert "--dpkgopt=path-exclude=/x/*" in built
    assert built.index("--customize-hook=first") < built.index("--customize-hook=second")
    assert "--aptopt=APT::Install-Recommends false" in built
    assert built[-1] == "list"
