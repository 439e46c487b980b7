#!/bin/sh
# Installs terminator with its systemd units, man pages, completion and hooks; or removes them again.
#
#   packaging/install.sh install|uninstall
#
# PREFIX   where the virtual environment goes (/opt/terminator)
# DESTDIR  a folder to put in front of every path, for packagers (empty)
# PYTHON   the interpreter that the environment is made with (python3); it must exist on the target machine too
#
# Configuration that is there is never overwritten, and uninstall keeps it, as it keeps keys and logs.
set -eu

PREFIX=${PREFIX:-/opt/terminator}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-python3}
here=$(cd "$(dirname "$0")/.." && pwd)
root=$DESTDIR$PREFIX
units="terminator.service terminator.socket terminator-http.socket terminator-watch.path terminator-watch.service"

files() { # every file outside PREFIX: source, mode, target
	for unit in $units; do echo "systemd/$unit 0644 /lib/systemd/system/$unit"; done
	cat <<-LIST
		systemd/terminator.sysusers 0644 /usr/lib/sysusers.d/terminator.conf
		systemd/terminator.tmpfiles 0644 /usr/lib/tmpfiles.d/terminator.conf
		systemd/terminator.logrotate 0644 /etc/logrotate.d/terminator
		systemd/hooks/certbot 0755 $PREFIX/hooks/certbot
		systemd/hooks/lego 0755 $PREFIX/hooks/lego
		systemd/hooks/acme.sh 0755 $PREFIX/hooks/acme.sh
		systemd/hooks/install-pair 0755 $PREFIX/hooks/install-pair
		man/terminator.8 0644 /usr/share/man/man8/terminator.8
		man/terminator.yaml.5 0644 /usr/share/man/man5/terminator.yaml.5
		systemd/terminator.yaml 0644 $PREFIX/share/terminator.yaml
		config/terminator.schema.json 0644 $PREFIX/share/terminator.schema.json
		packaging/completion.bash 0644 $PREFIX/share/completion.bash
		packaging/completion.bash 0644 /usr/share/bash-completion/completions/terminator-proxy
	LIST
}

do_install() {
	rm -rf "$here/build" # or modules that are gone would be installed with the rest
	"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
		echo 'terminator needs Python 3.11 or newer; name one with PYTHON=/path/to/python3' >&2
		exit 1
	}
	# --clear: an upgrade must not mix two versions. Running processes have loaded what they need.
	"$PYTHON" -m venv --clear "$root"
	"$root/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint "$here/requirements/constraints.txt" "$here"
	"$root/bin/python" -m pip uninstall --quiet --yes pip setuptools 2>/dev/null || true
	rm -f "$root"/bin/activate* "$root"/bin/Activate.ps1
	# The environment was made below DESTDIR and is to run without it.
	for script in "$root"/bin/*; do
		if [ ! -L "$script" ] && [ "$(head -c 2 "$script")" = '#!' ]; then
			sed -i "1s|^#!.*|#!$PREFIX/bin/python|" "$script"
		fi
	done
	sed -i "s|$DESTDIR$PREFIX|$PREFIX|g" "$root/pyvenv.cfg"
	"$root/bin/python" -m compileall -q -s "$DESTDIR" "$root/lib" || true

	files | while read -r source mode target; do
		install -D -m "$mode" "$here/$source" "$DESTDIR$target"
		if [ "$PREFIX" != /opt/terminator ]; then sed -i "s|/opt/terminator|$PREFIX|g" "$DESTDIR$target"; fi
	done
	if [ ! -e "$DESTDIR/etc/terminator/terminator.yaml" ]; then
		install -D -m 0644 "$here/systemd/terminator.yaml" "$DESTDIR/etc/terminator/terminator.yaml"
	fi
	mkdir -p "$DESTDIR/usr/sbin"
	# Not `terminator`: Debian has a desktop program of that name in /usr/bin.
	ln -sf "$PREFIX/bin/terminator" "$DESTDIR/usr/sbin/terminator-proxy"
	if [ -z "$DESTDIR" ]; then
		systemd-sysusers /usr/lib/sysusers.d/terminator.conf
		systemd-tmpfiles --create /usr/lib/tmpfiles.d/terminator.conf
		if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
		echo "Installed. Next: put a certificate into /etc/terminator/certs, edit /etc/terminator/terminator.yaml, then"
		echo "  $PREFIX/bin/terminator check --config /etc/terminator/terminator.yaml"
		echo "  systemctl enable --now terminator.socket terminator-http.socket terminator.service"
	fi
}

do_uninstall() {
	if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
		# shellcheck disable=SC2086
		systemctl disable --now $units 2>/dev/null || true
	fi
	files | while read -r _ _ target; do rm -f "$DESTDIR$target"; done
	rm -f "$DESTDIR/usr/sbin/terminator-proxy"
	rm -rf "$root"
	if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
	echo "Removed. Kept: /etc/terminator, /var/lib/terminator, /var/log/terminator and the user terminator."
}

case ${1:-} in
	install) do_install ;;
	uninstall) do_uninstall ;;
	*)
		echo "usage: $0 install|uninstall" >&2
		exit 2
		;;
esac
