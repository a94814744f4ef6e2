#!/bin/sh
# Starts Valkey with the password of the secret. As an argument of the command anybody on the machine
# could read it, so it goes through a file that only Valkey may read.
set -eu
secret=/run/secrets/valkey_password
config=/tmp/valkey.conf

password=$(cat "$secret")
case $password in
  '') echo "valkey_password is empty: write a password into deploy/secrets/valkey_password." >&2
      exit 1 ;;
  *'
'*) echo "valkey_password has more than one line: a password is one line." >&2
    exit 1 ;;
esac

# The file of the last start belongs to Valkey, and in /tmp the kernel lets not even root write to
# another's file (fs.protected_regular). So it is always made anew, and never through a link.
rm -f "$config"
umask 077
set -C
# In double quotes Valkey takes every character for itself but these two.
printf '%s' "$password" | LC_ALL=C sed 's/[\\"]/\\&/g; s/^/requirepass "/; s/$/"/' > "$config"
if [ "$(id -u)" = 0 ]; then chown valkey "$config"; fi
exec docker-entrypoint.sh valkey-server "$config" --appendonly yes --maxmemory-policy noeviction
