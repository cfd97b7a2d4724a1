"""Several web workers under one `serve`, which stops listening as soon as they do."""

from __future__ import annotations

from uvicorn.supervisors import Multiprocess


class Workers(Multiprocess):
    """The workers and the sockets that they share."""

    def terminate_all(self) -> None:
        """Stop the workers. Each finishes its requests; until then uvicorn would keep the sockets open, so that new
        connections wait for nobody instead of being refused, which lets a proxy try another node at once.
        """
        super().terminate_all()
        for listening in self.sockets:
            listening.close()
