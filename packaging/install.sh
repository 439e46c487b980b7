#!/bin/sh
# Installs terminator with its systemd units, man pages, completions and hooks; or removes them again.
#
#   packaging/install.sh install|uninstall
#
# PREFIX   the folder of the virtual environment (/opt/terminator); it is terminator's alone
# DESTDIR  a folder to put in front of every path, for packagers (empty)
# PYTHON   the interpreter that the environment is made with (python3); it must exist on the target machine too
#
# Files below /etc that are there are never overwritten; uninstall keeps the configuration, as it keeps keys and logs.
# The environment before serves on until the new one is complete, and stays when making the new one fails.
set -eu
umask 022

PREFIX=${PREFIX:-/opt/terminator}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-python3}
here=$(cd "$(dirname "$0")/.." && pwd)
units="terminator.service terminator.socket terminator-http.socket"
units="$units terminator-watch.path terminator-watch.timer terminator-watch.service"

fail() {
	echo "$0: $*" >&2
	exit 2
}

# They are written into units, scripts and #! lines, and PREFIX is removed as a whole.
case $PREFIX in
	*[!A-Za-z0-9/._+-]* | */../* | */.. | */./* | */.) fail "PREFIX=$PREFIX: letters, digits and /._+- only, no . or .." ;;
	*/ | *//*) fail "PREFIX=$PREFIX: no slash at the end, and single ones" ;;
	/*/*) ;;
	*) fail "PREFIX=$PREFIX: an absolute path of a folder that is terminator's alone, for example /opt/terminator" ;;
esac
case $DESTDIR in
	'' | /*) ;;
	*) DESTDIR=$PWD/$DESTDIR ;;
esac
case $DESTDIR in
	*[!A-Za-z0-9/._+-]*) fail "DESTDIR=$DESTDIR: letters, digits and /._+- only" ;;
esac
root=$DESTDIR$PREFIX
is_ours() { [ -e "$root/pyvenv.cfg" ] && [ -e "$root/bin/terminator" ] && [ -d "$root/hooks" ]; }
if [ -e "$root" ] && [ -n "$(ls -A "$root")" ] && ! is_ours; then
	fail "$root: is not empty and no installation of terminator; PREFIX names a folder for terminator alone"
fi

files() { # every file outside the environment: source, mode, target
	for unit in $units; do echo "systemd/$unit 0644 /usr/lib/systemd/system/$unit"; done
	cat <<-LIST
		systemd/terminator.sysusers 0644 /usr/lib/sysusers.d/terminator.conf
		systemd/terminator.tmpfiles 0644 /usr/lib/tmpfiles.d/terminator.conf
		systemd/hooks/certbot 0755 $PREFIX/hooks/certbot
		systemd/hooks/lego 0755 $PREFIX/hooks/lego
		systemd/hooks/acme.sh 0755 $PREFIX/hooks/acme.sh
		systemd/hooks/install-pair 0755 $PREFIX/hooks/install-pair
		man/terminator.8 0644 /usr/share/man/man8/terminator.8
		man/terminator.yaml.5 0644 /usr/share/man/man5/terminator.yaml.5
		systemd/terminator.yaml 0644 $PREFIX/share/terminator.yaml
		systemd/terminator.logrotate 0644 $PREFIX/share/terminator.logrotate
		config/terminator.schema.json 0644 $PREFIX/share/terminator.schema.json
		config/prometheus-rules.yaml 0644 $PREFIX/share/prometheus-rules.yaml
		packaging/completion.bash 0644 /usr/share/bash-completion/completions/terminator-proxy
		packaging/completion.zsh 0644 /usr/share/zsh/vendor-completions/_terminator-proxy
		packaging/completion.fish 0644 /usr/share/fish/vendor_completions.d/terminator-proxy.fish
	LIST
}

do_install() {
	"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
		fail 'terminator needs Python 3.11 or newer; name one with PYTHON=/path/to/python3'
	work=$(mktemp -d)
	new=$(dirname "$root")/.$(basename "$root").new.$$
	old=$(dirname "$root")/.$(basename "$root").old.$$
	trap 'rm -rf "$work" "$new" "$old"' EXIT
	trap 'exit 1' HUP INT TERM

	# A copy is built: nothing is left in the source, and modules that are gone are not installed with the rest.
	mkdir "$work/source"
	(cd "$here" && cp -R pyproject.toml README.md LICENSE terminator requirements "$work/source")
	find "$work/source" -name __pycache__ -type d -prune -exec rm -rf {} +
	mkdir -p "$(dirname "$root")"
	"$PYTHON" -m venv "$new"
	"$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint "$here/requirements/constraints.txt" "$work/source"
	"$new/bin/python" -m pip uninstall --quiet --disable-pip-version-check --yes pip setuptools 2>/dev/null || true
	rm -rf "$new"/bin/activate* "$new"/bin/Activate.ps1 "$new/include"
	# Where the package came from is no business of the installed one.
	find "$new/lib" -path '*/terminator_proxy-*.dist-info/direct_url.json' -delete
	# It was made elsewhere than where it is to run.
	for script in "$new"/bin/*; do
		if [ ! -L "$script" ] && [ "$(head -c 2 "$script")" = '#!' ]; then
			sed -i "1s|^#!.*|#!$PREFIX/bin/python|" "$script"
		fi
	done
	sed -i "s|$new|$PREFIX|g" "$new/pyvenv.cfg"
	"$new/bin/python" -m compileall -q -f -s "$new" -p "$PREFIX" "$new/lib"
	chmod -R u+rwX,go+rX,go-w "$new"

	# Running processes have loaded what they need; a start in between finds the old one or the new one.
	mkdir "$new/hooks"
	if [ -e "$root" ]; then mv "$root" "$old"; fi
	mv "$new" "$root" || {
		mv "$old" "$root"
		exit 1
	}

	files | while read -r source mode target; do
		install -D -m "$mode" "$here/$source" "$DESTDIR$target"
		if [ "$PREFIX" != /opt/terminator ]; then sed -i "s|/opt/terminator|$PREFIX|g" "$DESTDIR$target"; fi
	done
	for pair in terminator.yaml:etc/terminator/terminator.yaml terminator.logrotate:etc/logrotate.d/terminator; do
		if [ ! -e "$DESTDIR/${pair#*:}" ]; then
			install -D -m 0644 "$here/systemd/${pair%:*}" "$DESTDIR/${pair#*:}"
		fi
	done
	mkdir -p "$DESTDIR/usr/sbin"
	# Not `terminator`: Debian has a desktop program of that name in /usr/bin.
	ln -sf "$PREFIX/bin/terminator" "$DESTDIR/usr/sbin/terminator-proxy"
	ln -sf terminator.8 "$DESTDIR/usr/share/man/man8/terminator-proxy.8"
	if [ -z "$DESTDIR" ]; then
		systemd-sysusers /usr/lib/sysusers.d/terminator.conf
		systemd-tmpfiles --create /usr/lib/tmpfiles.d/terminator.conf
		if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
		echo "Installed. First time: put a certificate into /etc/terminator/certs, edit /etc/terminator/terminator.yaml, then"
		echo "  terminator-proxy check && systemctl enable --now terminator.socket terminator-http.socket terminator.service"
		echo "After an upgrade: terminator-proxy check && systemctl restart terminator.service"
	fi
}

do_uninstall() {
	if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
		# shellcheck disable=SC2086
		systemctl disable --now $units 2>/dev/null || true
	fi
	files | while read -r _ _ target; do rm -f "$DESTDIR$target"; done
	rm -f "$DESTDIR/usr/sbin/terminator-proxy" "$DESTDIR/usr/share/man/man8/terminator-proxy.8"
	if cmp -s "$here/systemd/terminator.logrotate" "$DESTDIR/etc/logrotate.d/terminator"; then
		rm -f "$DESTDIR/etc/logrotate.d/terminator"
	fi
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
