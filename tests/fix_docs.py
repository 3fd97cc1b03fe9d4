"""The commands that stand in the documents."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands(document: str, heading: str) -> list[str]:
    """The commands of the first shell block below a heading."""
    text = (ROOT / document).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return [line.split("  # ")[0].strip() for line in block[1].splitlines() if line.strip()]
