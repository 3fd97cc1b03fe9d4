"""The audit: each peer is made to prove that it has the very bytes, what is damaged is repaired, litter is swept."""

from pgkeep.audit.report import Litter, PeerAccount, Problem, Repair, Report
from pgkeep.audit.story import GRACE, SHARE, Audit

__all__ = ["GRACE", "SHARE", "Audit", "Litter", "PeerAccount", "Problem", "Repair", "Report"]
