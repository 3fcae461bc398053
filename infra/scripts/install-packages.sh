#!/usr/bin/env bash
# install-packages.sh PACKAGE...: installs Debian or Ubuntu packages as root without starting or enabling anything
# of theirs: no default Postgres cluster, no sshd. Services that were there before are left as they are.
set -euo pipefail

[ "$#" -gt 0 ] || { echo "usage: install-packages.sh PACKAGE..." >&2 && exit 2; }
[ "$(id -u)" = 0 ] || { echo "install-packages.sh: must run as root" >&2 && exit 1; }

export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/agilequant-bench.conf
log=$(mktemp)

restore() {
  rm -f -- "$no_cluster" "$log"
  if [ -e "$policy.agilequant-bench" ]; then
    mv -f -- "$policy.agilequant-bench" "$policy"
  elif grep -qs 'agilequant-bench' "$policy"; then
    rm -f -- "$policy"
  fi
}
trap restore EXIT
trap 'exit 130' INT TERM HUP

apt() { apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null; }
known() { apt-cache show "$1" >/dev/null 2>&1; }
installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

# While this file says 101, the packages' own scripts may not start services.
if [ -e "$policy" ] && ! grep -q 'agilequant-bench' "$policy"; then
  mv -- "$policy" "$policy.agilequant-bench"
fi
printf '#!/bin/sh\n# agilequant-bench: gone when its set-up ends\nexit 101\n' >"$policy"
chmod 0755 "$policy"

# postgresql's own script would create the cluster "main"; ours is made by the program, in its own folder.
mkdir -p "$(dirname "$no_cluster")"
printf 'create_main_cluster = false\n' >"$no_cluster"

declare -A before=()
for package in openssh-server postgresql; do
  installed "$package" && before[$package]=yes
done

apt update || echo "apt-get update failed; going on with the lists that are here" >&2
wanted=()
for package in "$@"; do
  if known "$package"; then
    wanted+=("$package")
  else
    echo "  $package: not in this machine's package sources, left out" >&2
  fi
done

failed=0
if [ "${#wanted[@]}" -gt 0 ]; then
  echo "installing ${wanted[*]} ..." >&2
  if ! apt install -y --no-install-recommends "${wanted[@]}"; then
    # One at a time, so that an optional one that cannot be installed does not hold up the others.
    for package in "${wanted[@]}"; do
      apt install -y --no-install-recommends "$package" || { failed=1 && echo "  $package: could not be installed" >&2; }
    done
  fi
fi
[ "$failed" = 0 ] || tail -n 20 "$log" >&2

# Installing enables a service for the next boot too. Undone only for what was not here before.
disable() {
  local package=$1
  shift
  if [ -z "${before[$package]:-}" ] && installed "$package"; then
    if command -v systemctl >/dev/null; then
      systemctl disable "$@" >>"$log" 2>&1 || true
    fi
    echo "  $package is installed but not started or enabled ($1)" >&2
  fi
}
disable openssh-server ssh.service ssh.socket
disable postgresql postgresql.service
exit "$failed"
