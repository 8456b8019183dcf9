package config

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// hidden stands for a secret; it is read back as an empty value.
const hidden = "# hidden, use -P to show it"

// Check loads the configuration at path and writes its errors and warnings, and those
// of more, one a line, and then what came of it. ok says that there are no errors.
func Check(w io.Writer, path string, more func(*Settings) ([]Warning, error)) (ok bool) {
	set, warnings, err := Load(path)
	if err == nil {
		var others []Warning
		others, err = more(set)
		warnings = append(warnings, others...)
	}
	for _, warning := range warnings {
		if warning.Pos.IsZero() {
			fmt.Fprintf(w, "%s: warning: %s\n", path, warning.Text)
		} else {
			fmt.Fprintf(w, "%s: warning: %s\n", warning.Pos, warning.Text)
		}
	}
	if err != nil {
		fmt.Fprintln(w, err)
		fmt.Fprintf(w, "%s: not usable\n", path)
		return false
	}
	fmt.Fprintf(w, "%s: ok\n", path)
	return true
}

// ShowOptions say what Show writes.
type ShowOptions struct {
	NonDefault bool // only what differs from the default, like doveconf -n
	Secrets    bool // passwords too
}

// Show writes the configuration that s was loaded from, with $name expanded and
// includes put in place. With Secrets, it loads again to equal Settings.
// Changes by ForUser are not shown.
func Show(w io.Writer, s *Settings, opts ShowOptions) error {
	sh := shower{w: bufio.NewWriter(w), opts: opts}
	fmt.Fprintf(sh.w, "# roost: %s\n", s.path)
	sh.values(s.base, 0)
	sh.blocks(s.base, 0)
	return sh.w.Flush()
}

type shower struct {
	w    *bufio.Writer
	opts ShowOptions
}

func (sh *shower) line(depth int, text string) {
	sh.w.WriteString(strings.Repeat("  ", depth))
	sh.w.WriteString(text)
	sh.w.WriteByte('\n')
}

func (sh *shower) blocks(s *section, depth int) {
	for _, kid := range s.kids {
		sh.line(depth, kid.title()+" {")
		sh.values(kid, depth+1)
		sh.blocks(kid, depth+1)
		sh.line(depth, "}")
	}
}

func (sh *shower) values(s *section, depth int) {
	for _, key := range sh.keys(s) {
		row := lookup(scopeOf(s.kind), key)
		v, set := s.vals[key]
		if !set {
			v.text = row.Default
		}
		if s.kind == "" && sh.opts.NonDefault && row != nil && sameValue(row, v.text, row.Default) {
			continue
		}
		sh.line(depth, strings.TrimRight(key+" = "+sh.text(row, s, v), " "))
	}
}

// keys are the names that are shown of a section, sorted: those that are set,
// and unless only changes are wanted, those that have a default.
func (sh *shower) keys(s *section) []string {
	keys := s.keys()
	if sh.opts.NonDefault || !showsDefaults(s) {
		return keys
	}
	for name, row := range index[scopeOf(s.kind)].exact {
		if _, set := s.vals[name]; !set && row.Class != Refused && row.Reason != whyGone {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	return keys
}

// showsDefaults says whether the defaults of a block can be written out. In a
// listener they depend on its name, in a passdb result_success depends on pass.
func showsDefaults(s *section) bool {
	switch s.kind {
	case "", "namespace", "mailbox", "userdb":
		return true
	}
	return false
}

// text is a value as it is written in a file.
func (sh *shower) text(row *Row, s *section, v value) string {
	switch {
	case v.file != "":
		return "<" + v.file
	case sh.opts.Secrets:
	case row != nil && row.Secret && isSecret(s, v.text), s.kind == "dict" && dictPassword.MatchString(v.text):
		return hidden
	}
	return quote(v.text)
}

// isSecret says whether the value of a secret row has something to hide: of
// fields and of dictionaries only passwords are.
func isSecret(s *section, text string) bool {
	if s.kind == "plugin" && dictAddress.MatchString(text) {
		return dictPassword.MatchString(text)
	}
	if s.kind != "passdb" && s.kind != "userdb" {
		return text != ""
	}
	for _, w := range strings.Fields(text) {
		if key, _, _ := strings.Cut(w, "="); strings.Contains(key, "pass") && key != "nopassword" {
			return true
		}
	}
	return false
}
