"""The engines on which the tests of the program run: `CADUCEE_TEST_ENGINE=sqlite-s3` puts the blobs into a bucket.

The bucket of an installation is a folder of `rclone serve s3`, with a link to it beside the data, so that a test finds
each object as a file. One server runs for the whole test process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from app.crypto.token import new_id
from tests.object_stores import CREDENTIALS, ObjectStore, started

ENGINES = ("sqlite", "sqlite-s3")
ENGINE = os.environ.get("CADUCEE_TEST_ENGINE", ENGINES[0])
if ENGINE not in ENGINES:
    raise ValueError(f"CADUCEE_TEST_ENGINE is {ENGINE!r}: must be one of {', '.join(ENGINES)}")
IN_BUCKET = ENGINE.endswith("-s3")


def bucket_of(folder: Path) -> Path:
    """Return the link to the folder whose files are the objects of an installation."""
    return folder / "bucket"


def engine_variables(folder: Path) -> dict[str, str]:
    """Return the settings that put an installation on the engine; on the default one there are none."""
    if not IN_BUCKET:
        return {}
    root, server = _server()
    if not bucket_of(folder).is_symlink():
        name = f"b-{new_id().encode().hex()}"
        client = server.client()
        client.create_bucket(Bucket=name)
        client.close()
        bucket_of(folder).symlink_to(root / "data" / name)
    name = bucket_of(folder).readlink().name
    return {"CADUCEE_BLOBS": f"s3://{name}", "CADUCEE_S3_ENDPOINT": server.endpoint} | CREDENTIALS


def open_uploads(folder: Path) -> list[str]:
    """Return the keys of the open uploads in an installation's bucket."""
    client = _server()[1].client()
    found = client.list_multipart_uploads(Bucket=bucket_of(folder).readlink().name).get("Uploads", [])
    client.close()
    return [str(each["Key"]) for each in found]


@cache
def _server() -> tuple[Path, ObjectStore]:
    stack = ExitStack()
    root = Path(tempfile.mkdtemp(prefix="caducee-s3-"))
    stack.callback(shutil.rmtree, root, ignore_errors=True)
    atexit.register(stack.close)
    return root, stack.enter_context(started("rclone", root))
