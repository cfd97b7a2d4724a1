#!/opt/caducee/bin/python -I
"""Mails a report of a timer: `caducee-notify SUBJECT [FILE ...]`. Installed as /opt/caducee/bin/caducee-notify.

caducee-alert@.service and caducee-checkpoint.service run it with the settings of /etc/caducee/notify.env. The subject
also goes to the journal, with priority `alert`. Exit 1 if the mail was not accepted or no address is set: then nobody
was informed. The mail holds no log lines, because they stay on the machine.
"""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
TIMEOUT_SECONDS = 30


class NotSent(Exception):
    """The mail cannot be sent as configured."""


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Send the mail, and return the exit code."""
    if not arguments:
        print("usage: caducee-notify SUBJECT [FILE ...]", file=sys.stderr)
        return 2
    subject, *files = arguments
    print(f"<{1 if not files else 5}>{subject}", file=sys.stderr)  # systemd reads the priority, see sd-daemon(3)
    try:
        send(mail(subject, [Path(file) for file in files], environment), environment)
    except (NotSent, OSError, smtplib.SMTPException) as error:
        print(f"<1>NOT SENT, nobody was informed of: {subject} ({type(error).__name__}: {error})", file=sys.stderr)
        return 1
    return 0


def mail(subject: str, files: Sequence[Path], environment: Mapping[str, str]) -> EmailMessage:
    """Return the message. Raises NotSent without addresses, OSError if a file cannot be read."""
    host = socket.gethostname()
    message = EmailMessage()
    message["Subject"] = f"Caducée on {host}: {subject}"
    message["From"] = _set("NOTIFY_FROM", environment)
    message["To"] = _set("NOTIFY_TO", environment)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=host)
    message.set_content(_text(subject, host, kept=bool(files)))
    for file in files:
        message.add_attachment(
            file.read_bytes(), maintype="application", subtype="octet-stream", filename=file.name
        )  # as bytes: a mail server that changed a line of a checkpoint would break its signature
    return message


def _text(subject: str, host: str, *, kept: bool) -> str:
    if kept:
        return (
            f"{subject}\n\nStore the files where the administrators of {host} cannot change them. The log is verified\n"
            f"against them later: caducee audit verify --since FILE\n"
        )
    unit = subject.partition(" ")[0]
    return f"{subject}\n\nOn {host}, run: journalctl -u {unit}\nThen see docs/runbook.md. At most one report an hour.\n"


def send(message: EmailMessage, environment: Mapping[str, str]) -> None:
    """Hand the message to the mail server: over verified TLS, unless the server is this machine. Raises OSError or
    SMTPException unless it was accepted for every recipient.
    """
    host, _, port = _set("NOTIFY_SERVER", environment).partition(":")
    with smtplib.SMTP(host, int(port or 25), timeout=TIMEOUT_SECONDS) as server:
        if host not in LOOPBACK:
            server.starttls(context=ssl.create_default_context())
        refused = server.send_message(message)
    if refused:
        raise NotSent(f"refused for {', '.join(refused)}")


def _set(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise NotSent(f"{name} is not set in /etc/caducee/notify.env")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
