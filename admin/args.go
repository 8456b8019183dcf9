package admin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// Arg is an argument of an operation.
type Arg struct {
	Name     string // in JSON; the flag's, if it is one
	Type     Type
	Flag     bool   // --name on the command line, not a word
	Short    string // one letter for the flag
	Required bool
	Rest     bool // all words from here on; in JSON an array, or one text
	Default  string
	Help     string
}

// Type is the form of an argument.
type Type int

// The types.
const (
	Text       Type = iota // at most MaxText bytes, printable
	User                   // a user's name, however it is typed
	Users                  // many, in an array, or a line each in the file that the command line names
	Host                   // a backend, by its name or address
	Tag                    // of backends
	Weight                 // 0 to cluster.MaxWeight
	Address                // an IP address
	Time                   // a duration: 90s, 10m; a plain number is seconds
	Number                 // not negative
	Bool                   // true or false
	Mailbox                // a mailbox's name, at most MaxMailbox bytes
	Identifier             // of an ACL, as in dovecot-acl files
	File                   // the text of the file that the command line names, at most MaxFile bytes
	Date                   // not past: a day or an instant, or how long until then: 30d; or never
)

func (t Type) String() string {
	return [...]string{"text", "user", "users", "host", "tag", "weight", "address", "time", "number", "bool", "mailbox", "identifier", "file", "date"}[t]
}

// Limits of arguments.
const (
	MaxText  = 255
	MaxUsers = 10_000 // in one call

	MaxMailbox = 1000
	MaxFile    = 128 << 10

	maxTime = 24 * time.Hour
)

// Args are checked arguments. Those that are absent have their default.
type Args map[string]string

// word is the text of an argument, empty if it is absent.
func (a Args) word(name string) string { return a[name] }

func (a Args) is(name string) bool { return a[name] == "true" }

func (a Args) number(name string) int {
	n, _ := strconv.Atoi(a[name])
	return n
}

// Time is an argument of type Time.
func (a Args) Time(name string) time.Duration {
	d, _ := parseTime(a[name])
	return d
}

func (a Args) users(name string) []string {
	if a[name] == "" {
		return nil
	}
	return strings.Split(a[name], "\n")
}

func (a *Arg) usage() string {
	word := strings.ToUpper(a.Name)
	if a.Rest {
		word += "..."
	}
	if a.Required {
		return word
	}
	return "[" + word + "]"
}

// Parse checks arguments by name. The error is that of a wrong command.
func (op *Operation) Parse(given map[string]string) (Args, error) {
	args := Args{}
	for _, a := range op.Args {
		text, is := given[a.Name]
		if !is || text == "" && a.Type != Text && a.Type != Tag {
			text = a.Default
		}
		if a.Required && text == "" {
			return nil, imap.BadCommand("%s: %s is missing", op.Name, strings.ToUpper(a.Name))
		}
		if text == "" {
			continue
		}
		checked, err := a.parse(text)
		if err != nil {
			return nil, imap.BadCommand("%s: %s: %v", op.Name, a.Name, err)
		}
		args[a.Name] = checked
	}
	for name := range given {
		if !op.has(name) {
			return nil, imap.BadCommand("%s: there is no argument %.40q", op.Name, name)
		}
	}
	return args, nil
}

func (op *Operation) has(name string) bool {
	for _, a := range op.Args {
		if a.Name == name {
			return true
		}
	}
	return false
}

// Words gives the words of a command line, behind the operation's name, to those
// arguments that are no flags.
func (op *Operation) Words(words []string) (map[string]string, error) {
	given := map[string]string{}
	for _, a := range op.Args {
		if a.Flag || len(words) == 0 {
			continue
		}
		if a.Rest {
			for _, word := range words {
				if strings.HasPrefix(word, "--") {
					return nil, imap.BadCommand("%s: %.40s: flags stand before all other words", op.Name, word)
				}
			}
			given[a.Name], words = strings.Join(words, " "), nil
			continue
		}
		given[a.Name], words = words[0], words[1:]
	}
	if len(words) > 0 {
		return nil, imap.BadCommand("%.40q is one word too many; usage: %s", words[0], op.Usage())
	}
	return given, nil
}

// ParseJSON reads arguments from a JSON object: texts, numbers, booleans, and for
// Users an array of texts.
func (op *Operation) ParseJSON(body []byte) (Args, error) {
	var object map[string]json.RawMessage
	if len(body) > 0 {
		if err := json.Unmarshal(body, &object); err != nil {
			return nil, imap.BadCommand("the body is no JSON object of arguments")
		}
	}
	given := map[string]string{}
	for name, raw := range object {
		text, err := jsonText(raw)
		if err != nil {
			return nil, imap.BadCommand("%s: %.40q: %v", op.Name, name, err)
		}
		given[name] = text
	}
	return op.Parse(given)
}

// jsonText is a JSON value as the command line would have it.
func jsonText(raw json.RawMessage) (string, error) {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", err
	}
	switch value := value.(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	case bool, float64:
		return string(raw), nil
	case []any:
		words := make([]string, 0, len(value))
		for _, v := range value {
			word, ok := v.(string)
			if !ok || strings.Contains(word, "\n") {
				return "", fmt.Errorf("an array of texts, each a line at most")
			}
			words = append(words, word)
		}
		return strings.Join(words, "\n"), nil
	}
	return "", fmt.Errorf("a text, a number, true or false")
}

// parse is the argument in its one form.
func (a *Arg) parse(text string) (string, error) {
	switch a.Type {
	case Users:
		return parseUsers(text)
	case File:
		return parseFile(text)
	}
	if a.Rest {
		text = strings.ReplaceAll(text, "\n", " ") // an array of JSON
	}
	most := map[Type]int{Mailbox: MaxMailbox, Identifier: imap.MaxIdentifier}[a.Type]
	if err := printable(text, cmp.Or(most, MaxText)); err != nil {
		return "", err
	}
	switch a.Type {
	case Tag:
		if strings.ContainsAny(text, "/@ ") {
			return "", fmt.Errorf("%.40q has a slash, @ or space", text)
		}
	case Host:
		if strings.ContainsAny(text, "/ ") {
			return "", fmt.Errorf("%.40q is neither a backend's name nor an address", text)
		}
	case Weight:
		return parseNumber(text, cluster.MaxWeight)
	case Number:
		return parseNumber(text, math.MaxUint32)
	case Address:
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return "", fmt.Errorf("%.40q is no IP address", text)
		}
		return ip.Unmap().String(), nil
	case Time:
		d, err := parseTime(text)
		return d.String(), err
	case Date:
		return parseDate(text, time.Now())
	case Bool:
		switch text {
		case "true", "yes", "1":
			return "true", nil
		case "false", "no", "0":
			return "false", nil
		}
		return "", fmt.Errorf("%.40q is neither true nor false", text)
	}
	return text, nil
}

// printable refuses what would garble a log or a terminal.
func printable(text string, most int) error {
	switch {
	case len(text) > most:
		return fmt.Errorf("longer than %d bytes", most)
	case !utf8.ValidString(text):
		return fmt.Errorf("not UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%.40q has a character that can't be printed", text)
	}
	return nil
}

func parseFile(text string) (string, error) {
	switch {
	case len(text) > MaxFile:
		return "", fmt.Errorf("longer than %d bytes", MaxFile)
	case !utf8.ValidString(text):
		return "", fmt.Errorf("not UTF-8")
	}
	return text, nil
}

func parseUsers(text string) (string, error) {
	users := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(users) > MaxUsers {
		return "", fmt.Errorf("more than %d users", MaxUsers)
	}
	for i, user := range users {
		users[i] = strings.TrimSpace(user)
		if err := printable(users[i], MaxText); err != nil {
			return "", fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return strings.Join(users, "\n"), nil
}

func parseNumber(text string, most int) (string, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n > uint64(most) {
		return "", fmt.Errorf("%.40q is not a number from 0 to %d", text, most)
	}
	return strconv.FormatUint(n, 10), nil
}

// never is the Date of what does not end.
const never = "never"

// maxDays bounds how far off a Date is that is given by how long until then.
const maxDays = 36_500

// dateSlack is how far past a Date may be: it is read at several nodes, one after another.
const dateSlack = 5 * time.Minute

// parseDate is a date as an instant in UTC, or never.
func parseDate(text string, now time.Time) (string, error) {
	if text == never {
		return text, nil
	}
	at, err := acl.ParseDate(text)
	if d, ok := parseDays(text); ok {
		at, err = now.Add(d).Unix(), nil
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("%.40q is no date, as 2026-12-24, 2026-12-24T18:00:00Z, 30d, 12h or never", text)
	case at <= now.Add(-dateSlack).Unix():
		return "", fmt.Errorf("%s is past", acl.FormatDate(at))
	}
	return acl.FormatDate(at), nil
}

// parseDays reads 30d and 12h.
func parseDays(text string) (d time.Duration, ok bool) {
	if days, is := strings.CutSuffix(text, "d"); is {
		n, err := strconv.ParseUint(days, 10, 32)
		return time.Duration(n) * 24 * time.Hour, err == nil && n <= maxDays
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d <= maxDays*24*time.Hour
}

func parseTime(text string) (time.Duration, error) {
	if _, err := strconv.ParseUint(text, 10, 32); err == nil {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxTime {
		return 0, fmt.Errorf("%.40q is not a time from 0 to %v, as 90s or 10m", text, maxTime)
	}
	return d, nil
}
