package auth

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a passwd-file.
const (
	maxPasswdFile = 256 << 20 // bytes
	maxPasswdLine = 16 << 10  // bytes
	maxBadLines   = 20        // reported of one file; the others are counted
)

// passwdTable is one reading of a passwd-file: for each name the rest of its
// line. It is immutable, and lines share the file's memory.
type passwdTable struct {
	lines map[string]string
	// sample is the first password: what an unknown user's attempt is compared
	// with, so that it takes as long as a known user's.
	sample string
	bad    []badLine
	badAll int
	number int // of lines
	// unfinished says why the file looks as if it is being written; else empty.
	unfinished string
}

// badLine says why a line was skipped. It never holds the line: that has a password.
type badLine struct {
	number int
	err    error
}

// passwdLine is name:password:uid:gid:gecos:home:shell:extra fields, of which
// everything behind the name may be missing. Colons in the extra fields are kept.
type passwdLine struct {
	password, uid, gid, home string
	extra                    []field
}

// parsePasswd reads a whole file. Bad lines are skipped and reported: one typing
// error must not lock out everybody. Of two lines of a name the first counts.
func parsePasswd(text string) *passwdTable {
	t := &passwdTable{lines: make(map[string]string, strings.Count(text, "\n"))}
	for line := range strings.Lines(text) {
		t.number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		if err := t.add(line); err != nil {
			t.badAll++
			if len(t.bad) < maxBadLines {
				t.bad = append(t.bad, badLine{t.number, err})
			}
		}
	}
	switch {
	case text == "":
		t.unfinished = "the file is empty"
	case !strings.HasSuffix(text, "\n"):
		t.unfinished = "the last line has no end"
	}
	return t
}

func (t *passwdTable) add(line string) error {
	switch {
	case len(line) > maxPasswdLine:
		return fmt.Errorf("longer than %d bytes", maxPasswdLine)
	case !utf8.ValidString(line):
		return errors.New("not UTF-8")
	case strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }):
		return errors.New("control character")
	}
	name, rest, _ := strings.Cut(line, ":")
	if err := checkName(name); err != nil {
		return err
	}
	parsed, err := parsePasswdLine(rest)
	if err != nil {
		return err
	}
	if _, ok := t.lines[name]; ok {
		return fmt.Errorf("user %q appears more than once", name)
	}
	t.lines[name] = rest
	if t.sample == "" && !strings.HasPrefix(parsed.password, "!") && !strings.HasPrefix(parsed.password, "*") {
		t.sample = parsed.password
	}
	return nil
}

// parsePasswdLine reads what stands behind the name.
func parsePasswdLine(rest string) (passwdLine, error) {
	var columns [7]string // password uid gid gecos home shell extra
	copy(columns[:], strings.SplitN(rest, ":", len(columns)))
	line := passwdLine{password: columns[0], uid: columns[1], gid: columns[2], home: columns[4]}
	if !validID(line.uid) || !validID(line.gid) {
		return line, errors.New("uid or gid is neither a number nor a name")
	}
	var err error
	line.extra, err = parseFields(columns[6])
	return line, err
}

// validID accepts numbers and account names; what they mean is the caller's affair.
func validID(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.", r)
	}) && !strings.HasPrefix(s, "-")
}

// user is the userdb side of a line: uid, gid, home, then the userdb_ fields.
func (l passwdLine) user() []field {
	var fields []field
	for _, f := range []field{{"uid", l.uid}, {"gid", l.gid}, {"home", l.home}} {
		if f.template != "" {
			f.template = strings.ReplaceAll(f.template, "%", "%%") // columns have no variables
			fields = append(fields, f)
		}
	}
	for _, f := range l.extra {
		if name, ok := strings.CutPrefix(f.name, userPrefix); ok {
			fields = append(fields, field{name, f.template})
		}
	}
	return fields
}
