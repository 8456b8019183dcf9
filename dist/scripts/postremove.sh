#!/bin/sh
# Mail, logs and the user who owns them stay, even when it is purged.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
