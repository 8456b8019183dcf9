#!/bin/sh
# Before the last version is removed, not before an upgrade.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl --quiet disable --now roost.service
	fi
	;;
esac
