#!/bin/sh
# Runs inside a throw-away Debian tree. Leaves in /out: version, and either xen (built here with shadow paging)
# or, when no source can be had or it does not build, xen-packaged.gz (Debian's own).
set -u
export LC_ALL=C
mkdir -p /out /root/source
cd /root/source || exit 1

packaged() {
    echo "xen-build: $1; falling back to the packaged hypervisor"
    apt-get update -q && apt-get download xen-hypervisor-4.17-amd64 || exit 1
    dpkg-deb -x xen-hypervisor-*.deb package || exit 1
    cp package/boot/xen-4.17-amd64.gz /out/xen-packaged.gz || exit 1
    dpkg-deb -f xen-hypervisor-*.deb Version > /out/version
    exit 0
}

for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$list" ] && sed -n 's/^deb /deb-src /p' "$list"
done > /root/source.list
cat /root/source.list > /etc/apt/sources.list.d/source.list
apt-get update -q || packaged "no source index"

# The newest version can be listed and yet be missing on the server, so each one is tried.
version=
for candidate in $(apt-cache showsrc xen | awk '/^Version:/ { print $2 }'); do
    if apt-get source -q --download-only "xen=$candidate"; then
        version=$candidate
        break
    fi
    echo "xen-build: the source of $candidate cannot be fetched"
    rm -f xen_*
done
[ -n "$version" ] || packaged "no version of the source can be fetched"

dpkg-source -x xen_*.dsc tree || packaged "the source does not unpack"
cd tree/xen || exit 1
export XEN_TARGET_ARCH=x86_64 SMBIOS_REL_DATE=01/01/2020 XEN_BUILD_DATE="Thu Jan  1 00:00:00 1970"
export XEN_WHOAMI=avance XEN_DOMAIN=invalid XEN_BUILD_HOST=invalid
make defconfig || packaged "the source does not configure"
# Last assignment wins. Left out: what a PV-only node never runs and what only slows the build.
cat >> .config <<CONFIG
CONFIG_SHADOW_PAGING=y
CONFIG_DEBUG=n
CONFIG_DEBUG_INFO=n
CONFIG_LIVEPATCH=n
CONFIG_GDBSX=n
CONFIG_TESTS=n
CONFIG
make olddefconfig || packaged "the source does not configure"
grep -q '^CONFIG_SHADOW_PAGING=y' .config || packaged "shadow paging cannot be switched on"
make -j"$(nproc)" || packaged "the source does not build"
cp xen /out/xen || exit 1
echo "$version" > /out/version
