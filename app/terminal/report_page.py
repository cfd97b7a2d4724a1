"""Reports as self-contained pages that a DPO can file: nothing in them comes from elsewhere, nothing in them runs."""

from __future__ import annotations

from datetime import datetime


def report_page(template: str, **shown: object) -> str:
    """The page of a template in this folder, HTML. Whatever is shown is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # most commands show no page

    environment = Environment(
        loader=PackageLoader("app", "terminal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    return environment.get_template(template).render(**shown)


def _moment(value: datetime | None) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S UTC") if value else "never"
