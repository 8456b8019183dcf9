package dictfs

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// ParseURI reads Dovecot's notation for a dict of files,
//
//	fs:posix:prefix=DIRECTORY[:mode=OCTAL][:dirs]
//
// in any order. Only the mode is set in the options.
func ParseURI(uri string) (dir string, opt Options, err error) {
	rest, ok := strings.CutPrefix(uri, "fs:posix:")
	if !ok {
		return "", opt, fmt.Errorf("not a dictionary of files: fs:posix:prefix=DIRECTORY")
	}
	for _, arg := range strings.Split(rest, ":") {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "prefix":
			dir = value
		case "mode":
			mode, err := strconv.ParseUint(value, 8, 12)
			if err != nil || mode&0o600 != 0o600 || mode&^0o666 != 0 {
				return "", opt, fmt.Errorf("mode: %q is not an octal number like 0660", value)
			}
			opt.Mode = uint32(mode)
		case "dirs": // directories that are empty go in any case
		default:
			return "", opt, fmt.Errorf("the option %q is not known: prefix, mode and dirs are", name)
		}
	}
	if !filepath.IsAbs(dir) || strings.IndexByte(dir, 0) >= 0 {
		return "", opt, fmt.Errorf("prefix: %q is not an absolute path", dir)
	}
	return filepath.Clean(dir), opt, nil
}
