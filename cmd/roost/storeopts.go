package main

import (
	"log/slog"
	"math"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/store"
)

// storeOptions is what the settings say of mail on this machine's disks.
func storeOptions(set *config.Settings, log *slog.Logger) store.Options {
	o := store.Options{
		Holder: holderName(set), Version: version(), Log: log, Volumes: set.Mail.Volumes,
		MinFree: int64(set.Mail.MinFree), Ballast: int64(set.Mail.Ballast), RewriteRate: int64(set.Mail.RewriteRate),
		CacheSize: int64(set.Mail.CacheSize), MaxFiles: set.Mail.MaxOpenFiles,
		ExpungeKeep: set.Mail.ExpungeKeep, FollowACL: set.ACL.Inherit == "live",
	}
	if set.Mail.Compress == "zstd" {
		o.CompressLevel = max(1, set.Mail.CompressLevel)
	}
	if o.MinFree == 0 {
		o.MinFree = 1
	}
	if o.RewriteRate == 0 {
		o.RewriteRate = math.MaxInt64
	}
	return o
}
