#!/bin/sh
# After installing or upgrading. It starts and restarts nothing: a node of a cluster is
# drained first, by whoever runs it. It touches no mail.
set -e

# dpkg says "configure" and the old version, if there is one; rpm says how many there are.
first=no
case "$1" in
configure) [ -n "$2" ] || first=yes ;;
1) first=yes ;;
esac

if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers roost.conf
elif ! getent passwd roost >/dev/null; then
	useradd --system --home-dir /var/lib/roost --shell /usr/sbin/nologin roost
fi
if [ "$first" = yes ]; then
	chgrp roost /etc/roost /etc/roost/roost.conf
fi
if command -v systemd-tmpfiles >/dev/null; then
	systemd-tmpfiles --create roost.conf || true # the service makes them too
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	if [ "$first" = no ] && systemctl --quiet is-active roost.service; then
		echo "roost: the old version runs on, until systemctl restart roost"
	fi
fi
