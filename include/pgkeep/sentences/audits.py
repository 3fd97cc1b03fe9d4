"""What an audit has found."""

from collections.abc import Iterator

from pgkeep.audit import PeerAccount, Problem, Report
from pgkeep.progress import human_size, human_time

from .words import counted, moment


def audited(report: Report) -> Iterator[str]:
    """What an audit has read, mended, swept and found, line by line."""
    yield (
        f"{report.database}, audit {report.number}{' (dry run)' if report.dry_run else ''}: "
        f"version {report.version} of the journal, {counted(report.objects, 'object')} of {human_size(report.size)}; "
        f"{100 * report.share:.0f} % of the bytes were to be read back; {human_time(report.seconds)}"
    )
    yield from (_account(peer) for peer in report.peers)
    yield _since(report)
    yield from (f"REPAIRED {one.about} ({one.cid}) at {one.peer}: {one.how}" for one in report.repairs)
    yield from (
        f"{'swept' if one.swept else 'litter, waits'}: {', '.join(one.names)} ({one.cid})" for one in report.litter
    )
    yield from (_problem(problem) for problem in report.problems)
    if not report.wrong:
        yield "all is well" if not report.repairs else "all is well again"


def _since(report: Report) -> str:
    if report.since is None:
        return "not everything was read yet"
    unasked = ", ".join(peer.name for peer in report.peers if not peer.asked)
    everything = f"everything but what {unasked} has" if unasked else "everything"
    return f"{everything} was read back since {moment(report.since)}"


def _account(peer: PeerAccount) -> str:
    held = f"{counted(peer.objects, 'object')}, {human_size(peer.size)}"
    if not peer.asked:
        return f"{peer.name}: {held}, by the cluster's list; its Kubo cannot be asked, so nothing is proven"
    return f"{peer.name}: {held}; {peer.read:,} of them read back now, {human_size(peer.read_size)}"


def _problem(problem: Problem) -> str:
    mark = "notice" if problem.kind == "notice" else "WRONG"
    return f"{mark} {problem.sentence}. Next: {problem.next_step}"
