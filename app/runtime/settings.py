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
from app.domain.duration import format_duration
from app.domain.network_address import is_loopback_origin, parse_host, parse_origin, protects_secrets
from app.domain.transfer import LIFETIME_CEILING, Lifetimes
from app.runtime import setting_values as values
from app.runtime.bucket_settings import BucketSettings
from app.runtime.house_zone import checked_zone, zone_of
from app.runtime.provider_settings import ProviderSettings
from app.runtime.setting_display import shown
from app.runtime.setting_names import require_known, secrets_folder, source_of, variables
from app.runtime.setting_values import DurationBetween, require_plain
from app.storage.s3_names import BucketPlace

Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.listed)]
Proxies = Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.proxies)]
Folder = Annotated[Path, BeforeValidator(values.folder)]
Number = Annotated[int, BeforeValidator(values.whole_number)]
DatabaseUrl = Annotated[SecretStr, BeforeValidator(values.database_url)]
VaultPlace = Annotated[SecretStr, BeforeValidator(values.vault_place)]
Lifetime = Annotated[timedelta, BeforeValidator(DurationBetween("1s", "31d"))]
Patience = Annotated[timedelta, BeforeValidator(DurationBetween("1s", "1h"))]
Deadman = Annotated[timedelta, BeforeValidator(DurationBetween("5s", "1d"))]
Retention = Annotated[timedelta, BeforeValidator(DurationBetween("32d", "36500d"))]

MAY_BE_EMPTY = frozenset({"organisation", "contact", "timezone", "brand_colour", "trusted_proxies", "purposes"})
MAX_BYTES = 2**63 - 1

STORE_SCHEMES: dict[str, tuple[str, ...]] = {"blobs": ("s3",), "vault": (values.POSTGRES,)}
"""For each store, the schemes of values such as `s3://bucket/prefix` that choose another kind than a folder."""

LOGO_SUFFIXES = (".svg", ".png")
LOGO_MAX_BYTES = 32 * 1024
"""The limit keeps the page small (docs/performance.md)."""


class Settings(BaseSettings, ProviderSettings, BucketSettings):
    """The service's settings. Field names are the variables' names without `CADUCEE_`, in lower case."""

    model_config = SettingsConfigDict(
        env_prefix="CADUCEE_",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        validate_default=True,
    )

    data_dir: Folder = Path("./var")
    database_url: DatabaseUrl | None = None
    vault: VaultPlace | None = None
    keys_dir: Folder | None = None

    separate_users: bool = False
    sign_log: bool = True

    public_url: str = "http://127.0.0.1:8000"
    staff_url: str | None = None
    trusted_proxies: Proxies = ()

    min_lifetime: Lifetime = timedelta(minutes=5)
    max_lifetime: Lifetime = timedelta(days=7)
    default_lifetime: Lifetime = timedelta(days=3)
    claim_window: Lifetime = timedelta(minutes=60)
    password_attempts: Number = Field(default=5, ge=1, le=100)
    deadman: Deadman = timedelta(minutes=15)
    orphan_grace: Lifetime = timedelta(hours=1)
    audit_retention: Retention = timedelta(days=365)
    idle_timeout: Patience = timedelta(seconds=60)
    stall_timeout: Patience = timedelta(minutes=5)

    max_transfer_bytes: Number = Field(default=50 * 1024**3, ge=1, le=MAX_BYTES)
    max_files: Number = Field(default=1_000, ge=1, le=1_000_000)
    max_shares: Number = Field(default=100, ge=1, le=100_000)
    min_free_bytes: Number = Field(default=1024**3, ge=0, le=MAX_BYTES)

    organisation: str = ""
    contact: str = ""
    timezone: Annotated[str, AfterValidator(checked_zone)] = ""
    brand_colour: str = ""
    brand_logo: Path | None = None
    show_recipient: bool = True
    purposes: Listed = ()

    argon2_time: Number = Field(default=3, ge=1, le=100)
    argon2_memory_kib: Number = Field(default=65_536, ge=8, le=4_194_304)
    argon2_lanes: Number = Field(default=4, ge=1, le=64)

    metrics_bind: str | None = Field(default=None, pattern=r":[0-9]{1,5}$")
    log_format: Literal["auto", "json", "text"] = "auto"

    def __init__(self, **given: Any) -> None:
        """Read what is not `given` from variables, then from secret files. Raises UnknownSetting, BadSecretsFolder."""
        require_known(os.environ, variables(type(self).model_fields))
        super().__init__(_secrets_dir=secrets_folder(), **given)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: object, info: ValidationInfo) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str):
            require_plain(text, may_be_empty=info.field_name in MAY_BE_EMPTY)
        return value

    @field_validator("max_lifetime")
    @classmethod
    def _below_ceiling(cls, value: timedelta) -> timedelta:
        if value > LIFETIME_CEILING:
            raise ValueError(f"must be at most {LIFETIME_CEILING.days} days")
        return value

    @field_validator("brand_colour")
    @classmethod
    def _colour(cls, value: str) -> str:
        if value and not re.fullmatch("#[0-9a-fA-F]{6}", value):
            raise ValueError("must be a colour, such as #17605b")
        return value

    @field_validator("audit_retention")
    @classmethod
    def _outlives_transfers(cls, value: timedelta) -> timedelta:
        """Ensure that entries of a transfer that is still held are not pruned."""
        if value <= LIFETIME_CEILING:
            raise ValueError(f"must exceed {LIFETIME_CEILING.days} days, the longest lifetime of a transfer")
        return value

    @field_validator("blobs")
    @classmethod
    def _store(cls, value: str | None, info: ValidationInfo) -> str | None:
        scheme, separator, _ = (value or "").partition("://")
        schemes = STORE_SCHEMES[str(info.field_name)]
        if separator and scheme not in schemes:
            raise ValueError(f"must be a folder{''.join(f', or begin with {each}://' for each in schemes)}")
        if scheme == "s3" and value is not None:
            BucketPlace.parse(value)
        return value if value is None or separator else str(values.folder(value))

    @field_validator("brand_logo")
    @classmethod
    def _small_image(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        value = value.absolute()
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
        if not protects_secrets(origin):
            raise ValueError("must begin with https://, unless it is loopback: passwords and tokens pass here")
        return origin

    @field_validator("metrics_bind")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and parse_host(value, scheme="http") is None:
            raise ValueError("must be host:port, like 127.0.0.1:9464 or [::1]:9464; a port is at most 65535")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.min_lifetime > self.max_lifetime:
            raise ValueError(
                f"CADUCEE_MIN_LIFETIME ({format_duration(self.min_lifetime)}) is above "
                f"CADUCEE_MAX_LIFETIME ({format_duration(self.max_lifetime)})"
            )
        if "default_lifetime" in self.model_fields_set and self.default_lifetime < self.min_lifetime:
            raise ValueError(
                f"CADUCEE_DEFAULT_LIFETIME ({format_duration(self.default_lifetime)}) must be at least "
                f"CADUCEE_MIN_LIFETIME ({format_duration(self.min_lifetime)})"
            )
        for name in {"claim_window", "deadman", "default_lifetime"} & self.model_fields_set:
            if getattr(self, name) > self.max_lifetime:
                raise ValueError(
                    f"CADUCEE_{name.upper()} ({format_duration(getattr(self, name))}) is above "
                    f"CADUCEE_MAX_LIFETIME ({format_duration(self.max_lifetime)}): no transfer lives that long"
                )
        if self.argon2_memory_kib < 8 * self.argon2_lanes:  # RFC 9106, section 3.1
            raise ValueError("CADUCEE_ARGON2_MEMORY_KIB must be at least 8 for each of CADUCEE_ARGON2_LANES")
        if self.oidc_issuer is not None and not self.offers_sign_in:
            raise ValueError("CADUCEE_STAFF_URL must be another origin than CADUCEE_PUBLIC_URL where staff sign in")
        if self.separate_users and self.vault_dir is None:
            raise ValueError("CADUCEE_SEPARATE_USERS is not available with a CADUCEE_VAULT on PostgreSQL yet")
        mixed = values.mixed_up(self._places(), may_hold=frozenset({"the folder of the database"}))
        if mixed:
            raise ValueError(mixed)
        return self

    def _places(self) -> dict[str, Path]:
        keys = {"CADUCEE_KEYS_DIR": self.signing_dir}
        blobs = {"CADUCEE_BLOBS": self.blobs_dir} if self.blobs_bucket is None else {}
        vault = {"CADUCEE_VAULT": self.vault_dir} if self.vault_dir else {}
        database = {"the folder of the database": self.database_file.parent} if self.database_file else {}
        return blobs | keys | vault | database

    @property
    def lifetimes(self) -> Lifetimes:
        """The range of lifetimes that depositors may request."""
        return Lifetimes(self.min_lifetime, self.max_lifetime)

    @property
    def preset_lifetime(self) -> timedelta:
        """The lifetime that pages and clients propose: the default one, within the range."""
        return min(max(self.default_lifetime, self.min_lifetime), self.max_lifetime)

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
        """The folder of the blob store, by default `blobs` in the data folder; with `blobs_bucket` it is not used."""
        return Path(self.blobs) if self.blobs and self.blobs_bucket is None else self.data_dir / "blobs"

    @property
    def vault_location(self) -> str:
        """The folder of the key vault, by default `vault` in the data folder; or its URL, perhaps with a password."""
        return str(self.data_dir / "vault") if self.vault is None else self.vault.get_secret_value()

    @property
    def vault_dir(self) -> Path | None:
        """The folder of the key vault, None for a vault on PostgreSQL."""
        return None if "://" in self.vault_location else Path(self.vault_location)

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

    @property
    def offers_sign_in(self) -> bool:
        """Whether a browser may sign in here. Not where recipients' pages, which anybody may open, share the staff's
        origin; a loopback origin is one machine's own.
        """
        return self.staff_origin != self.recipients_origin or is_loopback_origin(self.staff_origin)

    def shown(self) -> dict[str, Any]:
        """Return all settings by variable name, with secrets masked, for `caducee config show`."""
        return {f"CADUCEE_{name.upper()}": shown(getattr(self, name), field=name) for name in type(self).model_fields}

    def sources(self) -> dict[str, str]:
        """Return by variable name where each value comes from: `default`, `environment` or `secret file <path>`."""
        return {variable: source_of(variable) for variable in self.shown()}
