# bash completion for terminator-proxy, written by packaging/generate.py.
_terminator() {
	local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=''
	case "${COMP_WORDS[1]} $before" in
		'backend --format') words='text json' ;;
		'certs --format') words='text json' ;;
		'check --format') words='text json' ;;
		'explain --format') words='text json' ;;
		'reload --format') words='text json' ;;
		'report --format') words='text json' ;;
		'schema --format') words='json markdown' ;;
		'selftest --format') words='text json' ;;
		'status --format') words='text json' ;;
		'top --format') words='text json' ;;
	esac
	if [ -n "$words" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
		return
	fi
	case ${COMP_WORDS[1]} in
		run) words='--config -c --help' ;;
		check) words='--format --strict --verbose -v --help' ;;
		reload) words='--accept-worse --config --dry-run --format --socket -c --help' ;;
		status) words='--config --format --socket -c --help' ;;
		certs) words='--config --format --socket -c --help' ;;
		explain) words='--client --config --format --header --live --method --sni --socket -c --help' ;;
		report) words='--by --compare --config --format --html --preview --top --window -c --help' ;;
		selftest) words='--cert --config --connect --format --key --listener --quiet --socket -c -q --help' ;;
		top) words='--config --format --interval --socket -c --help' ;;
		backend) words='--config --format --socket -c drain down up --help' ;;
		schema) words='--format --help' ;;
		demo) words='--port --help' ;;
		*) words='run check reload status certs explain report selftest top backend schema demo --help --version' ;;
	esac
	if [ "$COMP_CWORD" -eq 1 ]; then
		words='run check reload status certs explain report selftest top backend schema demo --help --version'
	elif [ -z "$current" ] || [ "${current#-}" = "$current" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; compgen -f -- "$current")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o filenames -F _terminator terminator-proxy /opt/terminator/bin/terminator
