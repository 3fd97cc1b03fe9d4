"""### The journal, by mail, after every full backup

Mails the journal to those whom `[alerts]` names: encrypted and signed, byte for byte as the peers hold it. With it, a
recipient's private key and one living peer, a database comes back when everything else is lost (docs/disaster.md); and
a version in an old mail that is higher than the one of `pgkeep list` shows that somebody has put an older journal back.

| what you see | what it means, and what to do |
|---|---|
| green | It is on its way. |
| *up for retry* | The mail server, or the vault, did not answer. |
| red | The backup is complete; only the mail did not leave. Mend what the log's last error says, then clear the task. |

By hand: trigger it.
"""

from datetime import timedelta

from pgkeep.airflow.assets import backups
from pgkeep.airflow.declaration import configured, database_dag
from pgkeep.airflow.watch import MailJournalOperator

for database in configured():
    if not database.alerts.mail:
        continue
    with database_dag(
        database,
        "journal",
        schedule=[backups(database.name, "full")],  # an hour, too, may become one
        description=f"The journal of {database.name}, mailed to its operators",
        doc=__doc__,
        tags={"journal"},
        within=timedelta(hours=6),
    ):
        MailJournalOperator(task_id="mail_journal", database=database.name)
