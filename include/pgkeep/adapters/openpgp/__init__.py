"""GnuPG and zstd: what makes a backup unreadable to everybody else, and provably ours."""

from .keys import KeyProblem
from .opener import OpenPgpOpener
from .programs import Named
from .sealer import OpenPgpSealer
from .trust import Trust

__all__ = ["KeyProblem", "Named", "OpenPgpOpener", "OpenPgpSealer", "Trust"]
