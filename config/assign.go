package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkType says whether text has the form the row asks for.
func checkType(r *Row, text string) error {
	var err error
	switch r.Type {
	case Bool:
		_, err = parseBool(text)
	case Time:
		_, err = parseTime(text)
	case Size:
		_, err = parseSize(text)
	case Uint:
		_, err = parseUint(text, math.MaxUint32)
	case Port:
		_, err = parseUint(text, math.MaxUint16)
	case Octal:
		_, err = parseOctal(text)
	case Enum:
		err = parseEnum(text, r.Enum)
	}
	if err == nil && r.Vars {
		err = checkVars(text)
	}
	return err
}

// sameValue says that two texts mean the same value of a row.
func sameValue(r *Row, a, b string) bool {
	if a == b {
		return true
	}
	return canonical(r, a) == canonical(r, b)
}

func canonical(r *Row, text string) string {
	var v any = text
	switch r.Type {
	case Bool:
		v, _ = parseBool(text)
	case Time:
		v, _ = parseTime(text)
	case Size:
		v, _ = parseSize(text)
	case Uint, Port:
		v, _ = parseUint(text, math.MaxUint32)
	case Octal:
		v, _ = parseOctal(text)
	case List:
		v = strings.Join(words(text), " ")
	}
	return fmt.Sprint(v)
}

// parseBool takes what Dovecot takes: yes and no, also y, n and 1.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "yes", "y", "1":
		return true, nil
	case "no", "n", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", short(text))
}

func parseEnum(text string, words []string) error {
	if slices.Contains(words, text) {
		return nil
	}
	return fmt.Errorf("%q is not one of: %s", short(text), strings.Join(words, ", "))
}

func parseUint(text string, limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", short(text))
	}
	if n > limit {
		return 0, fmt.Errorf("%s is larger than %d", text, limit)
	}
	return n, nil
}

func parseOctal(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 8, 12)
	if err != nil {
		return 0, fmt.Errorf("%q is not a file mode like 0600", short(text))
	}
	return n, nil
}

// cutNumber splits "30 secs" into 30 and "secs".
func cutNumber(text string) (n uint64, unit string, err error) {
	end := 0
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	n, err = strconv.ParseUint(text[:end], 10, 64)
	return n, strings.ToLower(strings.Trim(text[end:], blanks)), err
}

// timeUnits in the order in which a shortened name is tried: m is minutes.
var timeUnits = []struct {
	name   string
	length time.Duration
}{
	{"seconds", time.Second},
	{"secs", time.Second},
	{"minutes", time.Minute},
	{"mins", time.Minute},
	{"hours", time.Hour},
	{"days", 24 * time.Hour},
	{"weeks", 7 * 24 * time.Hour},
	{"msecs", time.Millisecond},
	{"milliseconds", time.Millisecond},
}

// parseTime takes a number with a unit, which may be shortened; 0 needs none.
func parseTime(text string) (time.Duration, error) {
	n, unit, err := cutNumber(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time like 30 s", short(text))
	}
	if unit == "" {
		if n == 0 {
			return 0, nil
		}
		return 0, fmt.Errorf("the time %s lacks its unit, for example %s s for seconds", text, text)
	}
	for _, u := range timeUnits {
		if !strings.HasPrefix(u.name, unit) {
			continue
		}
		if n > uint64(math.MaxInt64/u.length) {
			return 0, fmt.Errorf("the time %s is too long", text)
		}
		return time.Duration(n) * u.length, nil
	}
	return 0, fmt.Errorf("%q is not a unit of time: s, min, hours, days, weeks", short(unit))
}

// parseSize takes a number of bytes with an optional unit B, k, M, G or T.
func parseSize(text string) (uint64, error) {
	n, unit, err := cutNumber(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size like 64 k", short(text))
	}
	shift := uint(0)
	switch strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i") {
	case "":
	case "k":
		shift = 10
	case "m":
		shift = 20
	case "g":
		shift = 30
	case "t":
		shift = 40
	default:
		return 0, fmt.Errorf("%q is not a unit of size: B, k, M, G, T", short(unit))
	}
	if n > math.MaxUint64>>shift {
		return 0, fmt.Errorf("the size %s is too large", text)
	}
	return n << shift, nil
}

// words splits a list at spaces and commas.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
}

// short keeps an error message readable, whatever was in the file.
func short(text string) string {
	if len(text) > 60 {
		return text[:57] + "..."
	}
	return text
}

// assign puts the value of a row where its binding points. The form of text was checked.
func assign(p any, text string) error {
	var err error
	switch p := p.(type) {
	case nil:
	case *string:
		*p = text
	case *bool:
		*p, err = parseBool(text)
	case *int:
		err = assignInt(p, text)
	case *int64:
		var n uint64
		n, err = parseSize(text)
		*p = int64(min(n, math.MaxInt64))
	case *time.Duration:
		*p, err = parseTime(text)
	case *[]string:
		*p = words(text)
	case *[]netip.Addr:
		*p, err = parseAddrs(text)
	case *[]netip.Prefix:
		*p, err = parseNets(text)
	case *[]MailServer:
		*p, err = parseMailServers(text)
	case *[]Field:
		*p, err = parseFields(text)
	case *Dict:
		*p, err = parseDict(text)
	default:
		err = fmt.Errorf("no way to set a %T", p)
	}
	return err
}

// assignInt takes a number or a size.
func assignInt(p *int, text string) error {
	n, err := parseSize(text)
	if err != nil {
		return err
	}
	if n > math.MaxInt {
		return fmt.Errorf("%s is too large", text)
	}
	*p = int(n)
	return nil
}

func parseAddrs(text string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, w := range words(text) {
		a, err := netip.ParseAddr(w)
		if err != nil {
			return nil, fmt.Errorf("%q is not an IP address", short(w))
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// parseNets takes addresses and networks like 10.0.0.0/8.
func parseNets(text string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for _, w := range words(text) {
		n, err := netip.ParsePrefix(w)
		if err != nil {
			a, aerr := netip.ParseAddr(w)
			if aerr != nil {
				return nil, fmt.Errorf("%q is not a network like 10.0.0.0/8", short(w))
			}
			n = netip.PrefixFrom(a.WithZone(""), a.BitLen())
		}
		nets = append(nets, n.Masked())
	}
	return nets, nil
}
