package dictsql

import (
	"fmt"
	"strings"
)

// parseConnect reads name=value pairs with blanks between them. A value with
// blanks stands in single quotes, where \ is before a quote or another \.
func parseConnect(s string) ([][2]string, error) {
	var pairs [][2]string
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" {
			return pairs, nil
		}
		name, rest, ok := strings.Cut(s, "=")
		name = strings.TrimRight(name, " \t")
		if !ok || name == "" || strings.ContainsAny(name, " \t'") {
			return nil, fmt.Errorf("connect: after %d settings something is not NAME=VALUE", len(pairs)) // not what: it may be a secret
		}
		var value string
		value, s = connectValue(strings.TrimLeft(rest, " \t"))
		pairs = append(pairs, [2]string{name, value})
	}
}

func connectValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, "'") {
		if n := strings.IndexAny(s, " \t"); n >= 0 {
			return s[:n], s[n:]
		}
		return s, ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
		case s[i] == '\'':
			return b.String(), s[i+1:]
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
