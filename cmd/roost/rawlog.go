package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/config"
)

// rawLogs makes raw logs of sessions, numbered within the process.
type rawLogs struct{ n atomic.Int64 }

// open makes the two files DIR/YYYYMMDD-HHMMSS.PID.N.in and .out. Nothing is
// logged if the setting is empty or DIR does not exist: whoever makes a
// directory that is named after one user switches the log on for that user.
func (l *rawLogs) open(setting string, vars *config.Vars) (in, out io.WriteCloser, err error) {
	dir, err := config.Expand(setting, vars)
	if err != nil || dir == "" {
		return nil, nil, err
	}
	dir = config.ExpandHome(dir, vars.Home)
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, nil, nil
	}
	base := fmt.Sprintf("%s.%d.%d", time.Now().Format("20060102-150405"), os.Getpid(), l.n.Add(1))
	var files [2]*os.File
	for i, suffix := range [2]string{".in", ".out"} {
		files[i], err = os.OpenFile(filepath.Join(dir, base+suffix), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			if i > 0 {
				_ = files[0].Close()
			}
			return nil, nil, fmt.Errorf("raw log: %w", err)
		}
	}
	return files[0], files[1], nil
}

// rawLog is the raw log of a client's session (rawlog_dir).
func (u *user) rawLog() (in, out io.WriteCloser) {
	in, out, err := u.node.rawLogs.open(u.set.Mail.RawlogDir, u.vars)
	if err != nil {
		u.node.log.Warn("raw log", "user", u.name, "error", err)
	}
	return in, out
}

// imapcRawLog is the raw log of a back session (imapc_rawlog_dir).
func (u *user) imapcRawLog(set *config.Imapc) func() (in, out io.WriteCloser) {
	return func() (in, out io.WriteCloser) {
		in, out, err := u.node.rawLogs.open(set.RawlogDir, u.vars)
		if err != nil {
			u.node.log.Warn("raw log", "user", u.name, "error", err)
		}
		return in, out
	}
}
