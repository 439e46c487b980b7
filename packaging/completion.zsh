#compdef terminator-proxy /opt/terminator/bin/terminator
# zsh completion for terminator-proxy, written by packaging/generate.py.

_terminator_proxy() {
	local -a commands=(
		'run:Serve, in the foreground, until SIGTERM or SIGINT'
		'check:Check a configuration, with the certificates and keys it names, without serving anything'
		'reload:Make the running daemon read its configuration and certificates anew, and wait for the outcome'
		'status:What the running daemon is doing'
		'certs:The certificates that the running daemon serves, and whether they are still those on disk'
		'explain:Tell what becomes of a request'
		'report:What the logs say'
		'selftest:Play a stranger'\''s attacks against the running daemon and tell the verdict on each host'
		'top:The running daemon, live'
		'backend:Take one server of a backend out for maintenance, or bring it back'
		'schema:Print the JSON Schema (draft 2020-12) of the configuration, or its reference in Markdown'
		'demo:Serve https://localhost with certificates of its own before a sample backend, and show every handshake'
	)
	if ((CURRENT == 2)); then
		_describe -t commands command commands
		return
	fi
	local command=$words[2]
	shift words
	((CURRENT--))
	case $command in
		run) _arguments \
			'(- *)--help[show the help]' \
			'(--config -c)--config[the configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--config -c)-c[the configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'*:file:_files' ;;
		check) _arguments \
			'(- *)--help[show the help]' \
			'(--strict)--strict[exit with 4 when there are warnings]' \
			'(--format)--format[json\: one object on stdout]:FORMAT:(text json)' \
			'(-v --verbose)-v[also show what was read and what it comes to]' \
			'(-v --verbose)--verbose[also show what was read and what it comes to]' \
			'*:file:_files' ;;
		reload) _arguments \
			'(- *)--help[show the help]' \
			'(--socket)--socket[the daemon'\''s admin socket]:PATH:_files' \
			'(--config -c)--config[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--config -c)-c[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--format)--format[json\: one object on stdout]:FORMAT:(text json)' \
			'(--dry-run)--dry-run[only show what would change against what is running]' \
			'(--accept-worse)--accept-worse[take certificates that are expired, weaker, older or lost a name]' \
			'*:file:_files' ;;
		status) _arguments \
			'(- *)--help[show the help]' \
			'(--socket)--socket[the daemon'\''s admin socket]:PATH:_files' \
			'(--config -c)--config[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--config -c)-c[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--format)--format[json\: one object on stdout]:FORMAT:(text json)' \
			'*:file:_files' ;;
		certs) _arguments \
			'(- *)--help[show the help]' \
			'(--socket)--socket[the daemon'\''s admin socket]:PATH:_files' \
			'(--config -c)--config[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--config -c)-c[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--format)--format[json\: one object on stdout]:FORMAT:(text json)' \
			'*:file:_files' ;;
		explain) _arguments \
			'(- *)--help[show the help]' \
			'(--config -c)--config[the configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--config -c)-c[the configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--live)--live[ask the daemon that runs with this configuration]' \
			'(--socket)--socket[ask the daemon with this admin socket]:PATH:_files' \
			'(--method)--method[method of the request (default\: GET)]:METHOD:_files' \
			'(--header)--header[a field; may be repeated]:'\''NAME: VALUE'\'':_files' \
			'(--sni)--sni[server name in TLS, '\'''\'' for none (default\: the URL'\''s host)]:NAME:_files' \
			'(--client)--client[address of the client]:IP:_files' \
			'(--format)--format[json\: one object on stdout]:FORMAT:(text json)' \
			'*:file:_files' ;;
		report) _arguments \
			'(- *)--help[show the help]' \
			'(--window)--window[only this span\: 2026-11-21T09\:00..10\:00, 2026-11-20.., now-1h.. (UTC unless an offset is written)]:FROM..TO:_files' \
			'(--compare)--compare[two logs, or two windows of LOG\: what differs, and what is noise]:('\''A'\'', '\''B'\''):_files' \
			'(--preview)--preview[who would be turned away by another policy\: "profile=modern", "min_version=1.3", "groups=X25519", "ciphers=ECDHE-RSA-AES128-GCM-SHA256"; may be given several times]:CHANGE:_files' \
			'(--config -c)--config[with --preview\: change each host'\''s policy as configured here]:FILE:_files' \
			'(--config -c)-c[with --preview\: change each host'\''s policy as configured here]:FILE:_files' \
			'(--by)--by[what tells handshakes apart (default\: version,resumed,key,host)]:WHAT:_files' \
			'(--top)--top[rows of each table (default\: 10)]:N:_files' \
			'(--html)--html[also write a page with plots, in one file]:FILE:_files' \
			'(--format)--format[json\: one object on stdout]:FORMAT:(text json)' \
			'*:file:_files' ;;
		selftest) _arguments \
			'(- *)--help[show the help]' \
			'(--socket)--socket[the daemon'\''s admin socket]:PATH:_files' \
			'(--config -c)--config[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--config -c)-c[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--format)--format[json\: one object on stdout]:FORMAT:(text json)' \
			'(--listener)--listener[only this one; may be repeated]:NAME:_files' \
			'(--connect)--connect[attack host\:port or unix\:/path instead of the listeners'\'' own addresses]:ADDRESS:_files' \
			'(--cert)--cert[a client certificate, to try more on hosts that require one\: PEM, chain included]:FILE:_files' \
			'(--key)--key[its key (default\: the file of --cert)]:FILE:_files' \
			'(--quiet -q)--quiet[tell only what came through, and the sum]' \
			'(--quiet -q)-q[tell only what came through, and the sum]' \
			'*:file:_files' ;;
		top) _arguments \
			'(- *)--help[show the help]' \
			'(--socket)--socket[the daemon'\''s admin socket]:PATH:_files' \
			'(--config -c)--config[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--config -c)-c[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--format)--format[json\: one object on stdout]:FORMAT:(text json)' \
			'(--interval)--interval[default\: 1]:SECONDS:_files' \
			'*:file:_files' ;;
		backend) _arguments \
			'(- *)--help[show the help]' \
			'(--socket)--socket[the daemon'\''s admin socket]:PATH:_files' \
			'(--config -c)--config[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--config -c)-c[or its configuration (default\: /etc/terminator/terminator.yaml)]:FILE:_files' \
			'(--format)--format[json\: one object on stdout]:FORMAT:(text json)' \
			'*:argument:_alternative "words::(drain down up)" "files::_files"' ;;
		schema) _arguments \
			'(- *)--help[show the help]' \
			'(--format)--format[default\: json]:FORMAT:(json markdown)' \
			'*:file:_files' ;;
		demo) _arguments \
			'(- *)--help[show the help]' \
			'(--port)--port[port on 127.0.0.1 (default\: 8443)]:PORT:_files' \
			'*:file:_files' ;;
	esac
}

_terminator_proxy "$@"
