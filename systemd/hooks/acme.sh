#!/bin/sh
# Hook for acme.sh: `acme.sh --issue … --renew-hook THIS`, or `acme.sh --install-cert -d NAME --reloadcmd THIS`.
# acme.sh sets Le_Domain, CERT_FULLCHAIN_PATH and CERT_KEY_PATH. Where it is older or was told to copy the files into a
# DIR that only root can enter (--fullchain-file DIR/fullchain.pem --key-file DIR/privkey.pem): THIS NAME DIR.
set -eu
install_pair=$(dirname "$(readlink -f "$0")")/install-pair
case $# in
	0)
		: "${Le_Domain:?is set by acme.sh}" "${CERT_FULLCHAIN_PATH:?is set by acme.sh}" "${CERT_KEY_PATH:?is set by acme.sh}"
		name=$(printf %s "$Le_Domain" | sed 's/^\*\./_./')
		exec "$install_pair" "$name" "$CERT_FULLCHAIN_PATH" "$CERT_KEY_PATH"
		;;
	2) exec "$install_pair" "$1" "$2/fullchain.pem" "$2/privkey.pem" ;;
esac
echo "usage: $0 [NAME DIR]" >&2
exit 2
