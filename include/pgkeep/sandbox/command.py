"""What every `python -m pgkeep.sandbox.X` of this folder has in common."""

import sys
from collections.abc import Callable, Sequence

from pgkeep.errors import PgkeepError


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Calls `main` with the command line's arguments. Our errors end it as they end `pgkeep`: a sentence, a code."""
    try:
        main(sys.argv[1:])
    except PgkeepError as error:
        sys.stderr.write(f"pgkeep: {error}\n")
        sys.exit(error.exit_code)
