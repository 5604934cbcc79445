#!/bin/sh
# Installs the other tools for the benchmarks into a directory, each under its own name:
#   benches/peers.sh /tmp/peers && PEERS=/tmp/peers cargo bench
# If a tool cannot be installed, the benchmarks show it as missing. recur needs Go.
set -u
directory=${1:?name a directory}
mkdir -p "$directory/src" || exit 1
directory=$(cd "$directory" && pwd)
# retry itself as a dynamic executable: an empty RUSTFLAGS replaces the flags in .cargo/config.toml.
(cd "$(dirname "$0")/.." &&
    RUSTFLAGS='' cargo install --quiet --locked --path . --root "$directory/src/dynamic") &&
    install "$directory/src/dynamic/bin/retry" "$directory/retry-dynamic"
cd "$directory" || exit 1
crate() { # NAME VERSION PROGRAM AS
    cargo install --quiet --locked --root "src/$1" --version "$2" "$1" ||
        cargo install --quiet --root "src/$1" --version "$2" "$1"
    [ -x "src/$1/bin/$3" ] && ln -sf "src/$1/bin/$3" "$4"
}
crate attempt-cli 1.1.1 attempt attempt
crate retry-cli 0.0.5 retry retry-cli
crate retry-cmd 0.4.1 retry retry-cmd
crate eb 0.5.0 eb eb
(cd src && apt-get download retry && dpkg -x retry_*.deb debian) &&
    ln -sf src/debian/usr/bin/retry debian-retry
npm install --silent --prefix src/npm retry-cli@0.7.0 && ln -sf src/npm/node_modules/.bin/retry npm-retry-cli
command -v go >/dev/null && GOBIN=$PWD go install dbohdan.com/recur/v3@v3.1.0
for name in retry-dynamic attempt retry-cli retry-cmd eb debian-retry npm-retry-cli recur; do
    if [ -x "$name" ]; then echo "$name"; else echo "$name: missing"; fi
done
