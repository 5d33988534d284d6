"""The `avance` command: verbs that are used often, or must start fast, are picked out before anything else is imported.

Start-up time is expensive in dom0: `argparse` alone takes longer there than the daemon's answer.
"""

import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 refused."""
    words = sys.argv[1:] if argv is None else argv
    if words in (["status"], ["status", "--json"]):
        from avance.show_status import main as show_status  # noqa: PLC0415 - each verb pays for its own imports

        return show_status(for_programs=len(words) == 2)
    import resource  # noqa: PLC0415 - as above

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file, of this or of a child, could hold a secret
    if words == ["run"]:
        from avance.daemon import main as run  # noqa: PLC0415 - only the daemon pays for these imports

        return run()
    from avance.command_line import main as command  # noqa: PLC0415 - only other verbs pay for these imports

    return command(words)


if __name__ == "__main__":
    sys.exit(main())
