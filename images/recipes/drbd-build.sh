#!/bin/sh
# Runs inside a throw-away Debian tree, with the release and the package version of the node's kernel, such as
# "6.1.0-57-amd64 6.1.192-3". Leaves in /out: drbd.ko (DRBD's module for that kernel, with drbd.patch), or nothing but
# `why` when the source of exactly that kernel cannot be had or does not build.
set -u
export LC_ALL=C DEBIAN_FRONTEND=noninteractive KBUILD_BUILD_TIMESTAMP="Thu Jan  1 00:00:00 1970" KBUILD_BUILD_USER=avance KBUILD_BUILD_HOST=invalid
release=$1
version=$2
series=$(echo "$release" | cut -d . -f 1,2)
mkdir -p /out /root/source
cd /root/source || exit 1

packaged() {
    echo "drbd-build: $1; Debian's own module stays"
    echo "$1" > /out/why
    rm -f /out/drbd.ko
    exit 0
}

apt-get update -q || packaged "no package index"
apt-get install -q -y --no-install-recommends "linux-headers-$release=$version" || packaged "no headers of kernel $version"
apt-get download -q "linux-source-$series=$version" || packaged "no source of kernel $version"

# One folder of the 1.3 GB.
dpkg-deb --fsys-tarfile linux-source-*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" | xz -dc |
    tar -x "linux-source-$series/drivers/block/drbd" || packaged "the source does not unpack"
cd "linux-source-$series/drivers/block/drbd" || packaged "the source has no DRBD"
patch -p 4 --fuzz=0 < /root/drbd.patch || packaged "drbd.patch does not fit the source of kernel $version"
make -j"$(nproc)" -C "/lib/modules/$release/build" M="$PWD" modules || packaged "the module does not build"
strip --strip-debug drbd.ko || packaged "the module does not build"
[ "$(modinfo -F vermagic ./drbd.ko | cut -d ' ' -f 1)" = "$release" ] || packaged "the module is for another kernel"
cp drbd.ko /out/drbd.ko || exit 1
