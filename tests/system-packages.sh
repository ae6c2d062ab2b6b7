#!/bin/sh
# Brings the Debian packages that some tests use; what is there already is left alone.
# chromium: draws the page of `edge view` in a real browser.
# g++: compiles the kernels of torch.compile.
set -eu

missing=""
for package in chromium g++; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo "test-setup: every system package is there"
  exit 0
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
  as_root="sudo"
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 - a list of words
$as_root apt-get install -y -qq --no-install-recommends $missing
