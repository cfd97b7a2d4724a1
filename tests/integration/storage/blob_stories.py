"""What the tests of local blobs share: storing one, fetching it, looking at the disk."""

import asyncio

from app.crypto.token import new_id

CONTENT = bytes(range(256)) * 40


async def store(disk, content=CONTENT):
    blob_id = new_id()
    writer = await disk.create(blob_id)
    await writer.write(content)
    await writer.commit()
    return blob_id


async def fetch(disk, blob_id):
    reader = await disk.open(blob_id)
    try:
        return bytes(await reader.read(0, reader.size))
    finally:
        reader.close()


def files_below(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {"installation"}


def run(story):
    """Run an async test to its end."""
    return asyncio.run(story())
