"""Tests: unit, integration, acceptance, attacks, migrations, browser."""
