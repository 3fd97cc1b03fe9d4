"""How a restore is approved by a person before anything happens. Read it top to bottom.

    what is wanted -> proposal -> an answer -> exactly what was proposed: restore beside, compare, take the place

What a person has approved is fixed by the numbers of its entries and the digests of their bytes, and by the very
database that would be replaced. Whatever has changed meanwhile is not carried out by somebody's old word.
"""

from .answer import Rules, sealed, unsealed
from .asking import mark, point, propose
from .carrying_out import SwapNote, approved_plan, carry_out
from .model import Approved, Person, Proposal, Where, Wish

__all__ = [
    "Approved",
    "Person",
    "Proposal",
    "Rules",
    "SwapNote",
    "Where",
    "Wish",
    "approved_plan",
    "carry_out",
    "mark",
    "point",
    "propose",
    "sealed",
    "unsealed",
]
