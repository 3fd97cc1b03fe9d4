"""A mail server that takes everything and delivers nothing: for all that is said to people."""

import asyncio
import email
import email.policy
import html
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import cast


class MailSink:
    """SMTP (RFC 5321, as far as smtplib speaks it) on loopback, in a thread. `mails`: what has arrived, in order."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def connection(self) -> str:
        """Airflow's connection to it, as JSON."""
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "pgkeep@node-1.example", "retry_limit": 0}
        return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": self.port, "extra": extra})

    @property
    def subjects(self) -> list[str]:
        return [str(mail["subject"]) for mail in self.mails]

    def start(self, *, port: int = 0) -> None:
        self.port = port
        self._thread.start()
        assert self._listening.wait(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._talk, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            command = line.split()[0].upper() if line.split() else b""
            if command == b"DATA":
                writer.write(b"354 go on\r\n")
                self.mails.append(await self._mail(reader))
            writer.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
            await writer.drain()
            if command == b"QUIT":
                break
        writer.close()

    async def _mail(self, reader: asyncio.StreamReader) -> EmailMessage:
        lines = list[bytes]()
        while (line := await reader.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        return email.message_from_bytes(b"".join(lines), policy=email.policy.default)


@contextmanager
def mail_sink(*, port: int = 0) -> Iterator[MailSink]:
    """A running one."""
    sink = MailSink()
    sink.start(port=port)
    try:
        yield sink
    finally:
        sink.stop()


def text(mail: EmailMessage) -> str:
    """What it says."""
    body = mail.get_body()
    assert body is not None
    return html.unescape(str(body.get_content()))


def attachments(mail: EmailMessage) -> dict[str, bytes]:
    """By file name."""
    return {str(part.get_filename()): cast(bytes, part.get_content()) for part in mail.iter_attachments()}
