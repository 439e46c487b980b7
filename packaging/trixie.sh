#!/bin/sh
# packaging/trixie.sh COMMAND…: makes a Debian 13 tree once (cached in TREE) and runs COMMAND with
# TERMINATOR_TEST_TREE pointing at it. Needs root, debootstrap and systemd-container.
#
# MIRROR  the archive; by default the first one of this machine's own apt sources
# TREE    where the tree lies (/var/cache/terminator-trixie)
set -eu
TREE=${TREE:-/var/cache/terminator-trixie}
if [ -z "${MIRROR:-}" ]; then
	MIRROR=$(apt-get indextargets --format '$(SITE)' | head -1)
fi
if [ ! -e "$TREE/.complete" ]; then
	rm -rf "$TREE"
	debootstrap --variant=minbase \
		--include=ca-certificates,systemd,systemd-sysv,dbus,python3,python3-venv,curl,procps,iproute2,logrotate \
		trixie "$TREE" "$MIRROR"
	cp /etc/ssl/certs/ca-certificates.crt "$TREE/etc/ssl/certs/"
	if [ -e /etc/pip.conf ]; then cp /etc/pip.conf "$TREE/etc/"; fi
	rm -rf "$TREE"/var/cache/apt/archives/*.deb
	touch "$TREE/.complete"
fi
TERMINATOR_TEST_TREE=$TREE "$@"
