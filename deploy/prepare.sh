#!/bin/sh
# Makes deploy/secrets/: the secrets that docker-compose.yml mounts as files. What is there already is kept.
# The folder is 0700, so that no other user of this machine gets at the files; the files are 0444, because compose
# mounts them as they are and the containers run as users of their own.
set -eu
cd "$(dirname "$0")"
OUT=${1:-secrets}
umask 077
mkdir -p "$OUT"
chmod 0700 "$OUT"

random_hex() { od -An -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# Written beside and renamed: a run that is interrupted leaves no half secret.
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
# Written anew each time: change deploy/validator.toml and run this again.
sed "s|@POSTGRES_PASSWORD@|$(cat "$OUT/postgres_password")|" validator.toml >"$OUT/.new"
rm -f "$OUT/validator.toml"; keep validator.toml
