#!/usr/bin/env bash
# Finds out whether the optional packages restore from this machine's package sources, and writes the answer to the
# git-ignored Optional.props. A package is used only when it restores and the project that needs it is here.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=lib.sh
. "$ROOT/infra/scripts/lib.sh"
find_dotnet

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# The version that this repository is compiled and tested against: the only one that is asked for.
version_of() {
  sed -n "s/.*<PackageVersion Include=\"$1\" Version=\"\([^\"]*\)\".*/\1/p" "$ROOT/Directory.Packages.props"
}

# packages_of PROJECT: every package that it references, as NAME=VERSION
packages_of() {
  local package
  sed -n 's/.*<PackageReference Include="\([^"]*\)".*/\1/p' "$ROOT/$1" | while read -r package; do
    printf '%s=%s\n' "$package" "$(version_of "$package")"
  done
}

# restores NAME PACKAGE...: 0 restores, 1 not in the sources, 2 the sources do not answer. Asks the sources, not the cache
# of packages that were here before. NU1603 is NuGet's warning that it took a near version instead.
restores() {
  local folder=$work/$1 package
  shift
  mkdir -p "$folder"
  {
    echo '<Project Sdk="Microsoft.NET.Sdk"><PropertyGroup><TargetFramework>net10.0</TargetFramework></PropertyGroup><ItemGroup>'
    for package in "$@"; do
      printf '<PackageReference Include="%s" Version="%s" />\n' "${package%=*}" "${package#*=}"
    done
    echo '</ItemGroup></Project>'
  } >"$folder/probe.csproj"
  if timeout 90 "$DOTNET" restore "$folder/probe.csproj" --packages "$work/packages" -v quiet >"$folder/log" 2>&1 </dev/null && ! grep -q NU1603 "$folder/log"; then
    return 0
  elif grep -qE 'NU110[123]|NU1603' "$folder/log"; then
    return 1
  fi
  return 2
}

# answer LABEL RESULT PROJECT-GLOB FALLBACK: says one line, prints true or false
answer() {
  local label=$1 result=$2 projects=$3 fallback=$4
  case $result in
    0)
      if compgen -G "$ROOT/$projects" >/dev/null; then
        say "$label: restores; on"
        echo true
        return
      fi
      say "$label: restores, but this version has no project for it yet; using $fallback"
      ;;
    1) say "$label: not in your package sources; using $fallback" ;;
    *) say "$label: your package sources did not answer; using $fallback" ;;
  esac
  echo false
}

orleans=0 sshnet=0
mapfile -t orleans_packages < <(packages_of orchestrator/AgileQuant.Orchestrator.Orleans/AgileQuant.Orchestrator.Orleans.csproj)
restores orleans "${orleans_packages[@]}" || orleans=$? # together: a cluster needs all of them
restores sshnet "SSH.NET=$(version_of SSH.NET)" || sshnet=$?

with_orleans=$(answer Orleans "$orleans" 'orchestrator/*.Orleans/*.csproj' 'Postgres leases')
with_sshnet=$(answer SSH.NET "$sshnet" 'agent/*.SshNet/*.csproj' "the system's OpenSSH client")
cat >"$ROOT/Optional.props.new" <<EOF
<Project>
  <!-- Written by infra/scripts/optional-packages.sh; \`bench setup\` asks again. -->
  <PropertyGroup>
    <WithOrleans Condition="'\$(WithOrleans)' == ''">$with_orleans</WithOrleans>
    <WithSshNet Condition="'\$(WithSshNet)' == ''">$with_sshnet</WithSshNet>
  </PropertyGroup>
</Project>
EOF
mv -f "$ROOT/Optional.props.new" "$ROOT/Optional.props"
