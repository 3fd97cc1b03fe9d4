#!/bin/sh
# Makes the identities of the vault's peers, once, by the peers' own program:
#
#     identities.sh ipfs|cluster DIRECTORY...
#
# Each identity appears whole or not at all: an interrupted run is simply repeated. What else stands in the peers'
# configuration is decided by pgkeep (`python -m pgkeep.sandbox.compose`), as for the sandbox.
set -eu
umask 077

kind=$1
shift
for peer in "$@"; do
  [ ! -e "$peer/$kind" ] || continue
  new=$peer/.new-$kind
  rm -rf "$new"
  case $kind in
    ipfs) IPFS_PATH=$new ipfs init --empty-repo ;;
    cluster) IPFS_CLUSTER_PATH=$new ipfs-cluster-service init --consensus crdt ;;
    *) echo "identities.sh: not a kind of peer: $kind" >&2; exit 2 ;;
  esac
  # The images' own user, `ipfs`, in group `users`.
  [ "$(id -u)" != 0 ] || chown -R 1000:100 "$new"
  mv "$new" "$peer/$kind"
done
