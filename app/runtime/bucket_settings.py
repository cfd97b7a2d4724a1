"""The settings of blobs in a bucket. The credentials are boto3's own: the usual AWS variables and files."""

from __future__ import annotations

from pydantic import BaseModel, field_validator, model_validator

from app.domain.network_address import parse_origin, protects_secrets
from app.storage.s3_names import BucketPlace
from app.storage.s3_suspended import LARGEST_BLOB


class BucketSettings(BaseModel):
    """The part of the settings that says where the blobs lie, if that is a bucket."""

    blobs: str | None = None
    s3_endpoint: str | None = None
    max_transfer_bytes: int

    @field_validator("s3_endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        origin = parse_origin(value) if value is not None else None
        if value is not None and (origin is None or not protects_secrets(origin)):
            raise ValueError("must be an origin, like https://s3.example.org; http:// only for loopback")
        return origin

    @model_validator(mode="after")
    def _bucket(self) -> BucketSettings:
        if self.blobs_bucket is None and self.s3_endpoint is not None:
            raise ValueError("CADUCEE_S3_ENDPOINT is set, but CADUCEE_BLOBS is no s3://bucket/prefix")
        if self.blobs_bucket is not None and self.max_transfer_bytes > LARGEST_BLOB:
            raise ValueError(f"CADUCEE_MAX_TRANSFER_BYTES must be at most {LARGEST_BLOB} with blobs in a bucket")
        return self

    @property
    def blobs_bucket(self) -> BucketPlace | None:
        """Where the blob store lies in a bucket, None if it is a folder. Raises ValueError for a malformed place."""
        return BucketPlace.parse(self.blobs) if self.blobs is not None and self.blobs.startswith("s3://") else None
