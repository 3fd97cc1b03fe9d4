#!/bin/sh
# Every container of the Airflow image starts here: with the secrets and addresses that `init` wrote, which are
# therefore neither in docker-compose.yml nor in the output of `docker inspect`.
set -eu
umask 077

. "${PGKEEP_SITE:-/site}/env"

# The keyring is shared, its agents are not: with this directory each container's agent has a socket of its own.
gpgconf --homedir "$GNUPGHOME" --create-socketdir 2>/dev/null || echo "entry.sh: gpg-agent will listen in the keyring" >&2

exec "$@"
