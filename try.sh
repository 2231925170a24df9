#!/bin/sh
# Shows what firn does, in a temporary folder: two backups, a look around, a restore that is compared with the original.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export FIRN_REPO="$tmp/repository" FIRN_CACHE_DIR="$tmp/cache" FIRN_STATE_DIR="$tmp/state"
export FIRN_PASSPHRASE="only for trying"
run() {
	printf '\n$ firn %s\n' "$*"
	./firn "$@"
}

mkdir "$tmp/source"
cp -R docs internal "$tmp/source/"
run init --kit-saved
run backup "$tmp/source"
echo "one more line" >>"$tmp/source/docs/FORMAT.md"
run backup "$tmp/source"
run snapshots
run diff latest~1 latest
run restore latest --target "$tmp/restored"
diff -r "$tmp/source" "$tmp/restored"
printf '\nThe restored folder is identical to the source.\n'
