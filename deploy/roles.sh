#!/bin/sh
# Runs once in a new PostgreSQL container: the two roles and the database of docs/deploy.md.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" \
  --set owner_password="$(cat /run/secrets/owner_password)" \
  --set app_password="$(cat /run/secrets/app_password)" <<'SQL'
CREATE ROLE quantleap_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE quantleap_app LOGIN PASSWORD :'app_password';
CREATE DATABASE quantleap OWNER quantleap_owner;
REVOKE ALL ON DATABASE quantleap FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE quantleap TO quantleap_app;
SQL
