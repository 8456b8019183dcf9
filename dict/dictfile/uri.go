package dictfile

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Lock is the way in which the writers of a file exclude each other.
type Lock uint8

// The methods of Dovecot's file dict.
const (
	LockDotlock Lock = iota // <path>.lock, created exclusively
	LockFlock               // flock(2) on the file
	LockFcntl               // fcntl(2) on the file
)

// ParseURI reads Dovecot's notation for a file dict,
//
//	file:<path>[:lock=dotlock|flock|fcntl]
//
// where the path is absolute and has no colon. Only the lock method is set in
// the options.
func ParseURI(uri string) (path string, opt Options, err error) {
	rest, ok := strings.CutPrefix(uri, "file:")
	if !ok {
		return "", opt, fmt.Errorf("dictionary %q is not a file: URI", uri)
	}
	path, param, more := strings.Cut(rest, ":")
	if !filepath.IsAbs(path) || strings.IndexByte(path, 0) >= 0 {
		return "", opt, fmt.Errorf("dictionary %q: path is not absolute", uri)
	}
	if !more {
		return path, opt, nil
	}
	switch param {
	case "lock=dotlock":
		opt.Lock = LockDotlock
	case "lock=flock":
		opt.Lock = LockFlock
	case "lock=fcntl":
		opt.Lock = LockFcntl
	default:
		return "", opt, fmt.Errorf("dictionary %q: unknown parameter %q", uri, param)
	}
	return path, opt, nil
}
