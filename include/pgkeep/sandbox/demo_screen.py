"""What the demo says."""

import sys


def title(text: str) -> None:
    """The headline of a step."""
    say(f"\n{text}")


def say(text: str) -> None:
    """A line on the screen, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
