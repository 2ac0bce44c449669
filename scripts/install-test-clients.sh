#!/usr/bin/env bash
# Installs what the end-to-end tests drive: kcat, kafka-python with its codecs, confluent-kafka,
# Chromium, Prometheus, and what makes networks and disks that fail (Debian packages), Kafka's Java
# client and tools (Maven, into .cache/java), @platformatic/kafka with the Node that it needs (npm,
# into .cache/node-clients). kafkajs comes with the project's own packages.
# Says what it does; does nothing when everything is there. Needs root (or sudo) only to install a
# missing Debian package, and Maven and a JDK of 17 or newer for the Java part.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly packages=(
  kcat python3-kafka python3-snappy python3-lz4 python3-zstandard python3-confluent-kafka lz4 zstd
  chromium prometheus iproute2 nftables e2fsprogs
)
readonly java_tests=test/e2e/clients/java
readonly cache=.cache/java
readonly node_tests=test/e2e/clients/node
readonly node_cache=.cache/node-clients

say() { printf 'install-test-clients: %s\n' "$*"; }

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
  local missing=()
  local package
  for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  command -v javac >/dev/null || missing+=(openjdk-17-jdk-headless)
  command -v mvn >/dev/null || missing+=(maven)
  if [ "${#missing[@]}" -eq 0 ]; then
    say "Debian packages are there: ${packages[*]}"
    return
  fi
  say "installing Debian packages: ${missing[*]}"
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
  # Its package begins a service; the tests run a Prometheus of their own.
  if [[ " ${missing[*]} " == *" prometheus "* ]]; then
    as_root systemctl disable --now prometheus >/dev/null 2>&1 || true
  fi
}

# What the result depends on: the jars' versions and the sources.
java_fingerprint() {
  find "$java_tests" -type f \( -name '*.xml' -o -name '*.java' \) -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

copy_jars() {
  say "copying the jars of $1 to $2"
  mvn -q -B -Dstyle.color=never -f "$1" dependency:copy-dependencies -DincludeScope=runtime \
    "-DoutputDirectory=$PWD/$2"
}

install_java() {
  local fingerprint
  fingerprint=$(java_fingerprint)
  if [ "$(cat "$cache/fingerprint" 2>/dev/null)" = "$fingerprint" ]; then
    say "the Java client is there: $cache"
    return
  fi
  # Built aside and moved as a whole: an interrupted run leaves nothing that looks complete.
  local building=.cache/java.building
  rm -rf "$building"
  mkdir -p "$building/classes"
  copy_jars "$java_tests/pom.xml" "$building/lib"
  copy_jars "$java_tests/tools/pom.xml" "$building/tools-lib"
  say "compiling $java_tests/src"
  javac -d "$building/classes" -cp "$building/lib/*" -Xlint:all,-classfile -Werror \
    "$java_tests"/src/*.java
  printf '%s\n' "$fingerprint" >"$building/fingerprint"
  rm -rf "$cache"
  mv "$building" "$cache"
  say "the Java client is ready: $cache"
}

# The packages and the Node that they run on, as the lockfile names them. Optional packages are
# native speed-ups, and the lockfile's scripts are not run: nothing here builds.
install_node_clients() {
  local fingerprint
  fingerprint=$(cat "$node_tests/package.json" "$node_tests/package-lock.json" | sha256sum |
    cut -d ' ' -f 1)
  if [ "$(cat "$node_cache/fingerprint" 2>/dev/null)" = "$fingerprint" ]; then
    say "@platformatic/kafka is there: $node_cache"
    return
  fi
  local building=.cache/node-clients.building
  rm -rf "$building"
  mkdir -p "$building"
  cp "$node_tests/package.json" "$node_tests/package-lock.json" "$building"
  say "installing the packages of $node_tests to $node_cache"
  npm --prefix "$building" ci --omit=optional --ignore-scripts --engine-strict=false \
    --no-audit --no-fund --loglevel=error
  printf '%s\n' "$fingerprint" >"$building/fingerprint"
  rm -rf "$node_cache"
  mv "$building" "$node_cache"
  say "@platformatic/kafka is ready: $node_cache"
}

install_packages
install_java
install_node_clients
