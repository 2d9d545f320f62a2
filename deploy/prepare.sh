#!/bin/sh
# Makes deploy/secrets/, the secrets that docker-compose.yml mounts as files. Keeps the secrets that exist.
# The folder has mode 0700, so that no other user of this machine can read the files. The files have mode 0444, because
# compose mounts them unchanged and the containers run as other users.
set -eu
cd "$(dirname "$0")"
OUT=${1:-secrets}
umask 077
mkdir -p "$OUT"
chmod 0700 "$OUT"

random_hex() { od -An -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# Renames the new file into place, so that an interrupted run leaves no incomplete secret.
keep() {
  name=$1
  if [ -s "$OUT/$name" ]; then rm -f "$OUT/.new"; echo "kept  $OUT/$name"; return; fi
  chmod 0444 "$OUT/.new"
  mv "$OUT/.new" "$OUT/$name"
  echo "wrote $OUT/$name"
}

random_hex 24 >"$OUT/.new"; keep postgres_password
random_hex 32 >"$OUT/.new"; keep deployer_key
random_hex 24 >"$OUT/.new"; keep wallet_password
# Written again each time: to change the settings, edit deploy/validator.toml and run this script again.
sed "s|@POSTGRES_PASSWORD@|$(cat "$OUT/postgres_password")|" validator.toml >"$OUT/.new"
rm -f "$OUT/validator.toml"; keep validator.toml
