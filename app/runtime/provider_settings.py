"""The settings of an identity provider at which staff sign in (OpenID Connect)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from app.domain.access_token import Role
from app.domain.sign_in import ProviderRules
from app.runtime import setting_values as values

Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.listed)]
NEEDED = ("oidc_issuer", "oidc_client_id", "oidc_client_secret")
HAVE_DEFAULTS = frozenset({"oidc_role_claim", "oidc_logout"})
"""Settings that mean nothing by themselves, and so may be set without the others."""


class ProviderSettings(BaseModel):
    """The part of the settings that names the provider and says whom it lets in."""

    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_role_claim: str = "groups"
    oidc_staff: Listed = ()
    oidc_auditor: Listed = ()
    oidc_admin: Listed = ()
    oidc_team_claim: str | None = None
    oidc_acr: Listed = ()
    oidc_logout: bool = True

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, value: str | None) -> str | None:
        """Keep an issuer as it is written: it is compared as text (OpenID Connect Core, 3.1.3.7)."""
        if value is not None and not values.is_issuer(value):
            raise ValueError("must be the provider's https:// address as it spells it, without query or fragment")
        return value

    @model_validator(mode="after")
    def _whole(self) -> ProviderSettings:
        """Refuse a part of these settings without the rest: nobody could sign in, or everybody by token."""
        given = ProviderSettings.model_fields.keys() & self.model_fields_set - HAVE_DEFAULTS
        missing = [f"CADUCEE_{name.upper()}" for name in NEEDED if not getattr(self, name)]
        if given and missing:
            raise ValueError(f"{', '.join(missing)} must be set where another CADUCEE_OIDC_* is")
        if given and not any(self.provider_rules.roles.values()):
            raise ValueError(
                "CADUCEE_OIDC_STAFF, CADUCEE_OIDC_AUDITOR or CADUCEE_OIDC_ADMIN must be set: nobody could sign in"
            )
        return self

    @property
    def provider_rules(self) -> ProviderRules:
        """Whom the provider lets in, and as what."""
        roles: Mapping[Role, tuple[str, ...]] = {
            Role.STAFF: self.oidc_staff,
            Role.AUDITOR: self.oidc_auditor,
            Role.ADMIN: self.oidc_admin,
        }
        return ProviderRules(self.oidc_issuer or "", self.oidc_role_claim, roles, self.oidc_team_claim, self.oidc_acr)
