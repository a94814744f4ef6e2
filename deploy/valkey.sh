#!/bin/sh
# Starts Valkey with the password of the secret. As an argument of the command anybody on the machine
# could read it, so it goes through a file that only Valkey may read.
set -eu
config=/tmp/valkey.conf
umask 077
sed 's/^/requirepass /' /run/secrets/valkey_password > "$config"
if [ "$(id -u)" = 0 ]; then chown valkey "$config"; fi
exec docker-entrypoint.sh valkey-server "$config" --appendonly yes --maxmemory-policy noeviction
