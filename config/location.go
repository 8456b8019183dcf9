package config

import (
	"fmt"
	"strings"
)

// Location is where mail is, read but not expanded: roost:~/mail, or
// imapc:~/shared/%%u:INDEXPVT=~/shared-pvt/%%u.
type Location struct {
	Driver   string // "roost", "imapc", or one of Dovecot's own
	Path     string
	Index    string // INDEX=
	IndexPvt string // INDEXPVT=; not empty turns private \Seen on
}

// ParseLocation reads a location. "::" in a path is a colon. For the drivers
// roost and imapc an unknown option is an error; the options of Dovecot's own
// formats are not looked at.
func ParseLocation(text string) (Location, error) {
	driver, args, ok := strings.Cut(text, ":")
	if !ok || driver == "" {
		return Location{}, fmt.Errorf("%q does not begin with a driver, as in roost:~/mail", short(text))
	}
	l := Location{Driver: driver}
	parts := splitColons(args)
	l.Path = parts[0]
	if driver != "roost" && driver != "imapc" {
		return l, nil
	}
	for _, opt := range parts[1:] {
		key, val, _ := strings.Cut(opt, "=")
		switch strings.ToUpper(key) {
		case "INDEX":
			l.Index = val
		case "INDEXPVT":
			l.IndexPvt = val
		default:
			return Location{}, fmt.Errorf("the option %q is not known: INDEX and INDEXPVT are", short(opt))
		}
	}
	return l, nil
}

// splitColons splits at single colons, and makes one of two.
func splitColons(s string) []string {
	const colon = "\x00"
	parts := strings.Split(strings.ReplaceAll(s, "::", colon), ":")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], colon, ":")
	}
	return parts
}
