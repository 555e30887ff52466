#!/bin/sh
# Installs Sortie from a release tarball: three programs, their manual pages, and completions.
#
#   sh install.sh sortie-0.1.0-x86_64-unknown-linux-gnu.tar.gz     a file; SHA256SUMS stands beside it
#   sh install.sh https://example.com/sortie-0.1.0-….tar.gz        a URL; SHA256SUMS stands beside it there
#   sh install.sh --version 0.1.0                                  the release of that version for this platform
#
#   --prefix DIR     below which folder; default $PREFIX, or ~/.local: then the programs are in ~/.local/bin
#   --sha256 HEX     the checksum, instead of SHA256SUMS
#   --dry-run        say what would be done, and do nothing
#
# A tarball whose checksum is not known, or is another, is not unpacked. Nothing is changed outside the prefix.
set -eu

RELEASES=${SORTIE_RELEASES:-https://github.com/sortie-dev/sortie/releases/download}
PROGRAMS="sortie sortie-control sortie-gateway"

say() { printf '%s\n' "install: $*"; }
fail() {
    printf '%s\n' "install: $*" >&2
    exit 1
}
usage() {
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

platform() {
    case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) echo x86_64-unknown-linux-gnu ;;
    Linux-aarch64) echo aarch64-unknown-linux-gnu ;;
    Darwin-x86_64) echo x86_64-apple-darwin ;;
    Darwin-arm64) echo aarch64-apple-darwin ;;
    *) fail "there is no release for $(uname -s) on $(uname -m)" ;;
    esac
}

# What comes over the network comes over TLS; plain HTTP is for this machine itself.
fetch() {
    case $1 in
    https://*) only='=https' ;;
    http://127.0.0.1:* | http://localhost:*) only='=http' ;;
    *) fail "$1 is not https://" ;;
    esac
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --proto "$only" --output "$2" "$1" || fail "cannot fetch $1"
    elif command -v wget >/dev/null; then
        wget -q --max-redirect=5 -O "$2" "$1" || fail "cannot fetch $1"
    else
        fail "neither curl nor wget is installed"
    fi
}

checksum() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1" | cut -d ' ' -f 1
    elif command -v shasum >/dev/null; then
        shasum -a 256 "$1" | cut -d ' ' -f 1
    else
        openssl dgst -sha256 "$1" | sed 's/.* //'
    fi
}

# All of it is read before anything is done: half a script, of a connection that broke, does nothing.
main() {
    from=
    version=
    prefix=${PREFIX:-}
    expected=
    dry=
    while [ $# -gt 0 ]; do
        case $1 in
        --version | --prefix | --sha256)
            [ $# -ge 2 ] || usage
            case $1 in
            --version) version=$2 ;;
            --prefix) prefix=$2 ;;
            --sha256) expected=$2 ;;
            esac
            shift
            ;;
        --dry-run) dry=1 ;;
        -*) usage ;;
        *)
            [ -z "$from" ] || usage
            from=$1
            ;;
        esac
        shift
    done
    if [ -z "$from" ] && [ -n "$version" ]; then
        from=$RELEASES/v$version/sortie-$version-$(platform).tar.gz
    elif [ -z "$from" ] || [ -n "$version" ]; then
        usage
    fi
    if [ -z "$prefix" ]; then
        [ -n "${HOME:-}" ] || fail "HOME is not set: name a folder with --prefix"
        prefix=$HOME/.local
    fi
    case $prefix in
    /*) ;;
    *) prefix=$(pwd)/$prefix ;;
    esac
    name=${from##*/}
    case $name in
    sortie-*.tar.gz) ;;
    *) fail "$name is not named as a release: sortie-VERSION-PLATFORM.tar.gz" ;;
    esac
    folder=${name%.tar.gz}
    case $name in
    *-"$(platform).tar.gz") ;;
    *) fail "$name is for another platform; this is $(platform)" ;;
    esac

    say "from $from"
    say "to   $prefix/bin ($PROGRAMS), $prefix/share (manual pages, completions)"
    if [ -n "$dry" ]; then
        say "nothing was done"
        exit 0
    fi

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM HUP
    case $from in
    *://*)
        fetch "$from" "$work/$name"
        tarball=$work/$name
        [ -n "$expected" ] || fetch "${from%/*}/SHA256SUMS" "$work/SHA256SUMS"
        sums=$work/SHA256SUMS
        ;;
    *)
        [ -f "$from" ] || fail "there is no file $from"
        tarball=$from
        sums=$(dirname "$from")/SHA256SUMS
        [ -n "$expected" ] || [ -f "$sums" ] || fail "there is no $sums: put it there, or give --sha256"
        ;;
    esac
    if [ -z "$expected" ]; then
        expected=$(while read -r sum file; do
            [ "${file#\*}" != "$name" ] || echo "$sum"
        done <"$sums")
        [ -n "$expected" ] || fail "SHA256SUMS says nothing about $name"
    fi
    found=$(checksum "$tarball")
    [ "$found" = "$expected" ] || fail "the checksum of $name is $found, not $expected: it is damaged, or not what was released"
    say "the checksum is right"

    # Every name stands below the one folder, and none leads out of it.
    tar -tzf "$tarball" >"$work/names"
    while read -r entry; do
        case $entry in
        *..*) fail "$name holds an odd name: $entry" ;;
        "$folder"/*) ;;
        *) fail "$name holds an odd name: $entry" ;;
        esac
    done <"$work/names"
    tar -xzf "$tarball" -C "$work"
    unpacked=$work/$folder
    for program in $PROGRAMS; do
        [ -f "$unpacked/bin/$program" ] || fail "$name holds no $program"
    done
    # Before anything is replaced: whether they run here at all.
    "$unpacked/bin/sortie" --version >/dev/null || fail "sortie does not run on this machine: is its C library too old?"

    (
        cd "$unpacked"
        find share -type d
    ) | while read -r below; do
        mkdir -p "$prefix/$below"
    done
    (
        cd "$unpacked"
        find share -type f
    ) | while read -r below; do
        cp "$unpacked/$below" "$prefix/$below"
        chmod 644 "$prefix/$below"
    done
    mkdir -p "$prefix/bin"
    for program in $PROGRAMS; do
        # A program that runs cannot be written to, but its name can be given to another file.
        cp "$unpacked/bin/$program" "$prefix/bin/.$program.new"
        chmod 755 "$prefix/bin/.$program.new"
        mv -f "$prefix/bin/.$program.new" "$prefix/bin/$program"
    done

    say "installed $("$prefix/bin/sortie" --version)"
    case :${PATH:-}: in
    *:"$prefix/bin":*) next=sortie ;;
    *)
        say "$prefix/bin is not in PATH: add it in your shell's profile"
        next=$prefix/bin/sortie
        ;;
    esac
    say "next: $next dev --detach   (a cluster on this machine; it needs curl and PostgreSQL's server programs)"
}

main "$@"
