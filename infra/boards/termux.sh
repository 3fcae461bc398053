#!/usr/bin/env bash
# termux.sh PUBLIC-KEY: run inside Termux on a phone. Lets that key in over SSH and prints what to type on your machine.
# For instance: bash termux.sh "ssh-ed25519 AAAA... me@laptop"
set -euo pipefail

[ -n "${PREFIX:-}" ] && command -v pkg >/dev/null || {
  echo "run this inside Termux, on the phone" >&2
  exit 1
}
key=${1:-}
case $key in
  ssh-* | ecdsa-* | sk-*) ;;
  *)
    echo "usage: bash termux.sh \"\$(cat id_ed25519.pub)\"   (the public key, in quotes)" >&2
    exit 2
    ;;
esac
[ "$(uname -m)" = aarch64 ] || echo "note: this phone is $(uname -m); the engine needs aarch64" >&2

command -v sshd >/dev/null || pkg install -y openssh
mkdir -p "$HOME/.ssh"
chmod 700 "$HOME/.ssh"
touch "$HOME/.ssh/authorized_keys"
chmod 600 "$HOME/.ssh/authorized_keys"
grep -qxF "$key" "$HOME/.ssh/authorized_keys" || printf '%s\n' "$key" >>"$HOME/.ssh/authorized_keys"

pgrep -x sshd >/dev/null || sshd
termux-wake-lock || echo "note: termux-wake-lock failed; Android may pause this phone while it measures" >&2

address=$(ifconfig 2>/dev/null | awk '$1 == "inet" && $2 != "127.0.0.1" { print $2; exit }')
echo "on your machine:"
echo "  ./bench device add $(whoami)@${address:-ADDRESS}:8022 --name phone"
echo "and compare the fingerprint it shows with this one:"
ssh-keygen -lf "$PREFIX/etc/ssh/ssh_host_ed25519_key.pub"
