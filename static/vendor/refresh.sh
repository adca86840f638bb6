#!/bin/sh
# Fetches the pinned versions again, byte for byte, with npm's own configuration.
# To move to another version: change it here and in README.md, run this, run the browser tests.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch <folder> <package@version> <file in the package>=<name here> …
fetch() {
    folder=$1 package=$2
    shift 2
    mkdir -p "$work/$folder" "$here/$folder"
    tarball=$(cd "$work" && npm pack --silent "$package")
    tar -xzf "$work/$tarball" -C "$work/$folder" --strip-components=1
    for pair in "$@"; do
        install -m 644 "$work/$folder/${pair%%=*}" "$here/$folder/${pair#*=}"
    done
}

fetch marked marked@18.2.1 lib/marked.esm.js=marked.esm.js LICENSE=LICENSE
fetch dompurify dompurify@3.4.18 \
    dist/purify.es.mjs=purify.es.js LICENSE=LICENSE LICENSE-MPL=LICENSE-MPL
fetch highlight @highlightjs/cdn-assets@11.12.0 es/highlight.min.js=highlight.min.js LICENSE=LICENSE
fetch socket.io socket.io-client@4.8.4 dist/socket.io.esm.min.js=socket.io.esm.min.js LICENSE=LICENSE

(cd "$here" && sha256sum ./*/*.js)
