# shellcheck shell=bash
# Programs of the operating system that a provider needs.

# need_packages PACKAGE=PROGRAM...: installs the Debian packages whose PROGRAM (a name on the PATH or a file) is missing; says
# what to install where it cannot.
need_packages() {
	local pair missing=()
	for pair in "$@"; do
		have_program "${pair#*=}" || missing+=("${pair%%=*}")
	done
	((${#missing[@]})) || return 0
	if ! can_install; then
		die "these programs are missing: ${missing[*]}" "install them (these are their names in Debian) and try again"
	fi
	say "installing ${missing[*]}"
	local log=$CACHE/packages.log
	mkdir -p "$CACHE"
	{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
		>"$log" 2>&1 </dev/null 9>&- || die "failed to install ${missing[*]}" "see $log"
}

# have_program NAME-OR-FILE
have_program() {
	if [[ $1 == /* ]]; then
		[[ -e $1 ]]
	else
		# Debian keeps what only root runs in folders that another user's PATH may lack.
		PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
	fi
}

# can_install: whether need_packages may install what is missing.
can_install() {
	[[ $EUID == 0 ]] && command -v apt-get >/dev/null && [[ -f /etc/debian_version ]]
}
