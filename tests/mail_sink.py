"""A mail server that accepts every mail and appends it to a file: `python mail_sink.py HOST PORT FILE`. No TLS."""

import socketserver
import sys
from pathlib import Path


class Conversation(socketserver.StreamRequestHandler):
    """One connection (RFC 5321), as far as smtplib needs it."""

    def handle(self) -> None:
        """Answer until QUIT."""
        self._say("220 sink")
        while line := self.rfile.readline().decode("utf-8", "replace").strip():
            word = line.split()[0].upper()
            if word == "DATA":
                self._say("354 go on")
                self._keep()
            self._say("221 bye" if word == "QUIT" else "250 taken")
            if word == "QUIT":
                return

    def _keep(self) -> None:
        with Path(sys.argv[3]).open("ab") as kept:
            while (line := self.rfile.readline()) not in {b".\r\n", b""}:
                kept.write(line)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


if __name__ == "__main__":
    socketserver.TCPServer((sys.argv[1], int(sys.argv[2])), Conversation).serve_forever()
