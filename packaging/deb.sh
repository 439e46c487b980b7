#!/bin/sh
# Builds DIST/terminator-proxy_VERSION_ARCH.deb (DIST: dist) with dpkg-deb: the output of install.sh below a folder, packed.
# The virtual environment is bound to the Python release it was made with, so build on the Debian release it is for.
#
# DEBFULLNAME, DEBEMAIL  whoever answers for this package: its Maintainer. Without them it says that nobody does.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-/usr/bin/python3}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/pyproject.toml")
python=$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
release=$(. /etc/os-release && echo "${VERSION_ID:-0}")
architecture=$(dpkg --print-architecture)
# .invalid (RFC 2606) can be nobody's address.
maintainer="${DEBFULLNAME:-Unofficial build} <${DEBEMAIL:-nobody@terminator-proxy.invalid}>"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 0755 "$stage"

DESTDIR=$stage PYTHON=$PYTHON "$here/packaging/install.sh" install
find "$stage/opt/terminator" -name '*.so' -exec strip --strip-unneeded {} + 2>/dev/null || true
gzip -9n "$stage/usr/share/man/man8/terminator.8" "$stage/usr/share/man/man5/terminator.yaml.5"
rm "$stage/usr/share/man/man8/terminator-proxy.8"
ln -s terminator.8.gz "$stage/usr/share/man/man8/terminator-proxy.8.gz"
find "$stage/opt/terminator" -depth -type d -empty -delete
doc=$stage/usr/share/doc/terminator-proxy
mkdir -p "$doc" "$stage/usr/share/lintian/overrides" "$stage/DEBIAN"
"$PYTHON" "$here/packaging/copyright.py" "$stage/opt/terminator/lib/$python/site-packages" >"$doc/copyright"
cp "$here"/docs/*.md "$here/CHANGELOG.md" "$doc/"
printf 'terminator-proxy (%s) stable; urgency=medium\n\n  * See /usr/share/doc/terminator-proxy/CHANGELOG.md.\n\n -- %s  %s\n' \
	"$version+deb$release" "$maintainer" "$(date -R -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")" | gzip -9n >"$doc/changelog.gz"
cp "$here/packaging/lintian-overrides" "$stage/usr/share/lintian/overrides/terminator-proxy"
cat >"$stage/DEBIAN/control" <<-CONTROL
	Package: terminator-proxy
	Version: $version+deb$release
	Architecture: $architecture
	Maintainer: $maintainer
	Installed-Size: $(du -sk "$stage" | cut -f1)
	Depends: $python, libc6 (>= 2.34), systemd (>= 250)
	Section: net
	Priority: optional
	Description: TLS-terminating reverse proxy that explains every handshake
	 Takes TLS connections, chooses certificate and TLS policy by server name, and
	 forwards HTTP/1.1 to backends chosen by routes. Reloads without touching a
	 connection, and tells where every handshake spends its time.
CONTROL
printf '%s\n' /etc/terminator/terminator.yaml /etc/logrotate.d/terminator >"$stage/DEBIAN/conffiles"
for script in postinst prerm postrm; do
	install -m 0755 "$here/packaging/deb/$script" "$stage/DEBIAN/$script"
done
(cd "$stage" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
chmod 0644 "$stage/DEBIAN/md5sums" "$stage/DEBIAN/conffiles" "$stage/DEBIAN/control"
chmod -R u+rwX,go+rX,go-w "$stage"
dist=${DIST:-$here/dist}
mkdir -p "$dist"
dpkg-deb --root-owner-group --build "$stage" "$dist/terminator-proxy_$version+deb${release}_$architecture.deb"
