"""The shared service and its people."""

from tests.acceptance.fixtures import anyone, colleague, house, installation, server, staff

__all__ = ["anyone", "colleague", "house", "installation", "server", "staff"]
