"""All settings, read once from `CADUCEE_` variables or secret files, and frozen.

`docs/settings.md` documents each; a test compares names, defaults and allowed values. No secret has a default: a fresh
installation generates its secrets.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.crypto.stretching import Argon2Parameters
from app.domain.duration import format_duration, parse_duration
from app.domain.errors import InvalidDuration
from app.domain.network_address import networks, parse_host, parse_origin
from app.domain.transfer import LIFETIME_CEILING, Lifetimes
from app.runtime.house_zone import checked_zone, zone_of


def _duration(value: object) -> timedelta:
    """Parse a duration in the service's own format; pydantic's parser would also accept ISO 8601 and floats."""
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(value)
    except InvalidDuration as error:
        raise ValueError(error.title) from None


def _listed(value: object) -> object:
    """Split a comma-separated environment variable."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


STORE_SCHEMES: dict[str, tuple[str, ...]] = {"blobs": (), "vault": ()}
"""For each store, the schemes of values such as `flat:///path` that choose another kind than a folder. None so far."""

LOGO_SUFFIXES = (".svg", ".png")
LOGO_MAX_BYTES = 32 * 1024
"""The limit keeps the page small (docs/performance.md)."""


class Settings(BaseSettings):
    """The service's settings. Field names are the variables' names without `CADUCEE_`, in lower case."""

    model_config = SettingsConfigDict(
        env_prefix="CADUCEE_",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        secrets_dir=os.environ.get("CADUCEE_SECRETS_DIR") or None,
    )

    data_dir: Path = Path("./var")
    database_url: SecretStr | None = None
    blobs: str | None = None
    vault: str | None = None
    keys_dir: Path | None = None

    separate_users: bool = False

    public_url: str = "http://127.0.0.1:8000"
    staff_url: str | None = None
    trusted_proxies: Listed = ()

    min_lifetime: Duration = timedelta(minutes=5)
    max_lifetime: Duration = timedelta(days=7)
    claim_window: Duration = timedelta(minutes=60)
    password_attempts: int = Field(default=5, ge=1, le=100)
    deadman: Duration = timedelta(minutes=15)
    orphan_grace: Duration = timedelta(hours=1)
    audit_retention: Duration = timedelta(days=365)
    idle_timeout: Duration = timedelta(seconds=60)
    stall_timeout: Duration = timedelta(minutes=5)

    max_transfer_bytes: int = Field(default=50 * 1024**3, ge=1)
    max_files: int = Field(default=1_000, ge=1)
    max_shares: int = Field(default=100, ge=1)
    min_free_bytes: int = Field(default=1024**3, ge=0)

    organisation: str = ""
    contact: str = ""
    timezone: Annotated[str, AfterValidator(checked_zone)] = ""
    brand_colour: str = Field(default="", pattern=r"^(#[0-9a-fA-F]{6})?$")
    brand_logo: Path | None = None
    purposes: Listed = ()

    argon2_time: int = 3
    argon2_memory_kib: int = 65_536
    argon2_lanes: int = 4

    metrics_bind: str | None = Field(default=None, pattern=r":[0-9]{1,5}$")
    log_format: Literal["auto", "json", "text"] = "auto"

    @field_validator("max_lifetime")
    @classmethod
    def _below_ceiling(cls, value: timedelta) -> timedelta:
        if value > LIFETIME_CEILING:
            raise ValueError(f"must be at most {LIFETIME_CEILING.days} days")
        return value

    @field_validator("audit_retention")
    @classmethod
    def _outlives_transfers(cls, value: timedelta) -> timedelta:
        """Ensure that entries of a transfer that is still held are not pruned."""
        if value <= LIFETIME_CEILING:
            raise ValueError(f"must exceed {LIFETIME_CEILING.days} days, the longest lifetime of a transfer")
        return value

    @field_validator("blobs", "vault")
    @classmethod
    def _store(cls, value: str | None, info: ValidationInfo) -> str | None:
        scheme, separator, _ = (value or "").partition("://")
        schemes = STORE_SCHEMES[str(info.field_name)]
        if separator and scheme not in schemes:
            raise ValueError(f"must be a folder{''.join(f', or begin with {each}://' for each in schemes)}")
        return value

    @field_validator("brand_logo")
    @classmethod
    def _small_image(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        if value.suffix not in LOGO_SUFFIXES or not value.is_file() or value.stat().st_size > LOGO_MAX_BYTES:
            raise ValueError(f"must be a file {' or '.join(LOGO_SUFFIXES)} of at most {LOGO_MAX_BYTES} bytes")
        return value

    @field_validator("public_url", "staff_url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        origin = parse_origin(value)
        if origin is None:
            raise ValueError("must be an origin, like https://files.example.org, in ASCII (xn--...)")
        return origin

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        networks(value)
        return value

    @field_validator("metrics_bind")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and parse_host(value, scheme="http") is None:
            raise ValueError("must be host:port, like 127.0.0.1:9464 or [::1]:9464; a port is at most 65535")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.min_lifetime > self.max_lifetime:
            raise ValueError("CADUCEE_MIN_LIFETIME is above CADUCEE_MAX_LIFETIME")
        self.argon2  # noqa: B018 - checks the three parameters together
        return self

    @property
    def lifetimes(self) -> Lifetimes:
        """The range of lifetimes that depositors may request."""
        return Lifetimes(self.min_lifetime, self.max_lifetime)

    @property
    def argon2(self) -> Argon2Parameters:
        """The Argon2 parameters of new shares; each share stores its own."""
        return Argon2Parameters(time=self.argon2_time, memory_kib=self.argon2_memory_kib, lanes=self.argon2_lanes)

    @property
    def database_location(self) -> str:
        """The database's URL; by default SQLite in the data folder. It may contain a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'db' / 'caducee.sqlite').resolve()}"

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite database, None for another database."""
        scheme, slashes, path = self.database_location.partition(":///")
        return Path(path.partition("?")[0]) if slashes and scheme.startswith("sqlite") else None

    @property
    def blobs_dir(self) -> Path:
        """The folder of the blob store; by default `blobs` in the data folder."""
        return Path(self.blobs) if self.blobs else self.data_dir / "blobs"

    @property
    def vault_dir(self) -> Path:
        """The folder of the key vault; by default `vault` in the data folder."""
        return Path(self.vault) if self.vault else self.data_dir / "vault"

    @property
    def signing_dir(self) -> Path:
        """The folder of the log's signing key; by default `keys` in the data folder."""
        return self.keys_dir or self.data_dir / "keys"

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of times that people read; by default the host's."""
        return zone_of(self.timezone)

    @property
    def logo_name(self) -> str:
        """The file name under which the organisation's logo is served; empty without a logo."""
        return f"logo{self.brand_logo.suffix}" if self.brand_logo else ""

    @property
    def recipients_origin(self) -> str:
        """The origin of recipients' links."""
        return self.public_url

    @property
    def staff_origin(self) -> str:
        """The origin of the staff API; by default the recipients' origin."""
        return self.staff_url or self.public_url

    def shown(self) -> dict[str, Any]:
        """Return all settings by variable name, with secrets masked, for `caducee config show`."""
        return {f"CADUCEE_{name.upper()}": _shown(getattr(self, name)) for name in type(self).model_fields}


def _shown(value: object) -> object:
    if isinstance(value, SecretStr):
        return _without_password(value.get_secret_value())
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value) if isinstance(value, Path) else value


def _without_password(url: str) -> str:
    """Mask passwords before the host and in the query. The text need not be a valid URL."""
    address, question, query = url.partition("?")
    scheme, slashes, rest = address.partition("://")
    user, at, host = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    masked = [re.sub(r"(?i)^([^=]*password[^=]*=).*", r"\1***", pair, flags=re.DOTALL) for pair in query.split("&")]
    return f"{scheme}{slashes}{name}{colon and ':***'}{at}{host}{question}{'&'.join(masked)}"
