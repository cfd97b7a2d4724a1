"""The database's versions, in order; `caducee db upgrade` runs them. A test checks that they match the models."""
