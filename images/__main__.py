"""The command `python -m images`; progress goes to stderr, and stdout holds the manifest's path alone."""

import argparse
import signal
import sys
from collections.abc import Sequence

from images.build import Builder
from images.cache import Cache, default_root
from images.errors import BuildError
from images.progress import Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress()
    builder = Builder(Cache(default_root(), progress), progress, digests=getattr(options, "verify", False))
    try:
        if options.command == "path":
            path = builder.manifest_path()
            if path is None:
                raise BuildError("no image of the current sources is built; run `python -m images build`")
        else:
            if options.clean:
                builder.clean()
            path = builder.build()
    except BuildError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("images: interrupted; the finished layers are kept, the unfinished ones are removed", file=sys.stderr)
        return 130
    print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m images", description="Build the image of a node.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build what is missing and print the manifest's path")
    build.add_argument("--clean", action="store_true", help="remove every finished layer and image first")
    build.add_argument("--verify", action="store_true", help="also compare every stored file with its digest")
    commands.add_parser("path", help="print the manifest's path of the current sources, without building")
    return parser


if __name__ == "__main__":
    sys.exit(main())
