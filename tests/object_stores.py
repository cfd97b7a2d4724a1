"""S3 servers that tests start on loopback, each with a bucket: SeaweedFS, `rclone serve s3`, and moto.

SeaweedFS is one for production. rclone ignores much of the protocol, as small gateways do. moto has versions, object
locks and replication.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

PROGRAMS = Path(sysconfig.get_path("scripts"))
BUCKET = "caducee-test"
KEY, SECRET = "testaccess", "testsecret-of-this-run"
START_SECONDS = 60
HIGHEST_PORT = 55_535
"""SeaweedFS adds 10,000 to a port for gRPC."""


@dataclass(frozen=True)
class ObjectStore:
    """A running server: its endpoint, and what `CADUCEE_` and AWS variables a service needs for it."""

    kind: str
    endpoint: str
    bucket: str = BUCKET

    def variables(self) -> dict[str, str]:
        """Return the settings of an installation with a prefix of its own in the bucket."""
        place = f"s3://{self.bucket}/{secrets.token_hex(6)}"
        return {"CADUCEE_BLOBS": place, "CADUCEE_S3_ENDPOINT": self.endpoint} | CREDENTIALS

    def client(self) -> Any:
        """Return a client of the test's own."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                proxies={},
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@contextmanager
def seaweedfs(folder: Path) -> Iterator[ObjectStore]:
    """SeaweedFS: master, volume server, filer and S3 in one process. Its telemetry, which is on by default, is off."""
    ports = _free_ports(4)
    identity = {"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    arguments = [
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256",
        "-volume.max=40",
        "-volume.minFreeSpacePercent=0",
        "-filer",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{role}.port={port}" for role, port in zip(("master", "volume", "filer", "s3"), ports, strict=True)),
    ]
    with _running("seaweedfs", [PROGRAMS / "weed", *arguments], folder, ports[-1]) as store:
        yield store


@contextmanager
def rclone(folder: Path) -> Iterator[ObjectStore]:
    """`rclone serve s3`: each folder in `data` is a bucket, and each file in it an object."""
    (folder / "data").mkdir()
    port = _free_ports(1)[0]
    options = ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    arguments = ["serve", "s3", *options, str(folder / "data")]
    with _running("rclone", [PROGRAMS / "rclone", "--config", os.devnull, *arguments], folder, port) as store:
        yield store


@contextmanager
def moto(folder: Path) -> Iterator[ObjectStore]:
    """The server of moto, in a process of its own."""
    port = _free_ports(1)[0]
    command = [PROGRAMS / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with _running("moto", command, folder, port) as store:
        yield store


SERVERS: dict[str, Callable[[Path], Any]] = {"seaweedfs": seaweedfs, "rclone": rclone, "moto": moto}


@contextmanager
def started(kind: str, folder: Path) -> Iterator[ObjectStore]:
    """Start a server in an empty folder, or skip the test where it cannot start; under `.ci/run` the test fails."""
    folder.mkdir(parents=True, exist_ok=True)
    program = PROGRAMS / {"seaweedfs": "weed", "rclone": "rclone", "moto": "moto_server"}[kind]
    if not program.exists() and os.environ.get("CADUCEE_REQUIRE_ALL") != "1":
        pytest.skip(f"{program.name} IS NOT INSTALLED, nothing was tested on it")
    with SERVERS[kind](folder) as store:
        yield store


@contextmanager
def _running(kind: str, command: list[Any], folder: Path, port: int) -> Iterator[ObjectStore]:
    with (folder / "server.log").open("wb") as said:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        store = ObjectStore(kind, f"http://127.0.0.1:{port}")
        _make_bucket(store, process, folder / "server.log")
        yield store
    finally:
        process.kill()
        process.wait()


def _make_bucket(store: ObjectStore, process: subprocess.Popen[bytes], log: Path) -> None:
    client, deadline = store.client(), time.monotonic() + START_SECONDS
    while True:
        try:
            client.create_bucket(Bucket=store.bucket)
            client.put_object(Bucket=store.bucket, Key="ready", Body=b"x")
            client.delete_object(Bucket=store.bucket, Key="ready")
        except (BotoCoreError, ClientError) as error:
            said = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            if said in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                continue
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{store.kind} did not start:\n{log.read_text('utf-8', 'replace')}") from error
            time.sleep(0.1)
        else:
            client.close()
            return


def _free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, with the ports 10,000 above them."""
    found: list[int] = []
    while len(found) < count:
        port = 15_000 + secrets.randbelow(HIGHEST_PORT - 15_000)
        if port not in found and _is_free(port) and _is_free(port + 10_000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
