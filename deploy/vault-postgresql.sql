-- Role and database of a key vault on PostgreSQL, for an administrator (psql -f, docs/operations.md). Choose a password.
CREATE ROLE caducee_vault LOGIN PASSWORD :'password';
CREATE DATABASE caducee_vault OWNER caducee_vault TEMPLATE template0;
\connect caducee_vault
REVOKE ALL ON DATABASE caducee_vault FROM PUBLIC;
GRANT pg_checkpoint, pg_monitor TO caducee_vault;
GRANT EXECUTE ON FUNCTION pg_switch_wal(), pg_ls_dir(text), pg_ls_waldir() TO caducee_vault;
