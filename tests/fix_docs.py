"""The commands that stand in the documents."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands(document: str, heading: str) -> list[str]:
    """The commands of all shell blocks between a heading and the next."""
    text = (ROOT / document).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert blocks
    return [line.split("  # ")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]
