#!/bin/sh
# For acme.sh, which copies the files itself and then calls a command: `acme.sh --install-cert -d NAME
#   --fullchain-file DIR/fullchain.pem --key-file DIR/privkey.pem --reloadcmd "THIS NAME DIR"`
# with a DIR that only root can enter, for example /etc/acme/NAME.
set -eu
if [ $# -ne 2 ]; then
	echo "usage: $0 NAME DIR" >&2
	exit 2
fi
exec "$(dirname "$(readlink -f "$0")")/install-pair" "$1" "$2/fullchain.pem" "$2/privkey.pem"
