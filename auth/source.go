package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// source is a driver: where the entries of a passdb or userdb come from.
type source interface {
	// find is the entry of name. values are the variables of the attempt that
	// asks. An entry's fields are not expanded yet.
	find(ctx context.Context, name string, values Value) (entry, error)
	// listsNames says whether an entry proves that somebody knew the name
	// beforehand. A source that answers for every name proves nothing.
	listsNames() bool
}

// errUnknown is the answer of a source that has no such name.
var errUnknown = errors.New("unknown user")

// entry is what a source holds of one name. With errUnknown, password is one to
// compare with in vain.
type entry struct {
	password stored
	fields   []field // of a passdb, userdb_ fields included
	user     []field // of a userdb
}

func (b *builder) source(driver, args string, forPassdb bool) (source, error) {
	switch driver {
	case "passwd-file":
		return b.passwdSource(args)
	case "static":
		return b.staticSource(args, forPassdb)
	}
	return nil, fmt.Errorf("unknown driver %q", driver)
}

// passwdSource is the driver passwd-file.
type passwdSource struct {
	files  *passwdFiles
	path   string // a template
	format string // username_format: the template of the name that is looked up
	scheme string // of passwords that name none
	expand Expand
}

// passwdSource reads args: scheme=X username_format=Y /path.
func (b *builder) passwdSource(args string) (source, error) {
	s := &passwdSource{files: b.files, format: "%u", scheme: "CRYPT", expand: b.expand}
	rest := strings.TrimSpace(args)
	for strings.HasPrefix(rest, "scheme=") || strings.HasPrefix(rest, "username_format=") {
		word, after, _ := strings.Cut(rest, " ")
		name, value, _ := strings.Cut(word, "=")
		if name == "scheme" {
			s.scheme = value
		} else {
			s.format = value
		}
		rest = strings.TrimSpace(after)
	}
	s.path = rest
	if rest == "" {
		return nil, errors.New("passwd-file: args names no file")
	}
	if _, _, err := b.schemes.find(upperASCII(s.scheme)); err != nil {
		return nil, fmt.Errorf("passwd-file: unknown scheme %q", s.scheme)
	}
	for _, template := range []string{s.path, s.format} {
		if _, err := s.expand(template, nameValue("user@example.org")); err != nil {
			return nil, fmt.Errorf("passwd-file: %w", err)
		}
	}
	return s, nil
}

func (s *passwdSource) listsNames() bool { return true }

// find knows in path and username_format the variables of the name alone: in a
// master passdb that is the master's.
func (s *passwdSource) find(ctx context.Context, name string, _ Value) (entry, error) {
	path, err := s.expand(s.path, nameValue(name))
	if err != nil {
		return entry{}, err
	}
	key, err := s.expand(s.format, nameValue(name))
	if err != nil {
		return entry{}, err
	}
	table, err := s.files.table(ctx, path)
	if errors.Is(err, fs.ErrNotExist) && path != s.path {
		return entry{}, errUnknown // nobody of that domain
	}
	if err != nil {
		return entry{}, err
	}
	rest, ok := table.lines[key]
	if !ok {
		return entry{password: parseStored(table.sample, s.scheme)}, errUnknown
	}
	line, err := parsePasswdLine(rest)
	return entry{password: parseStored(line.password, s.scheme), fields: line.extra, user: line.user()}, err
}

// staticSource is the driver static: the same entry for every name.
type staticSource struct {
	password stored // its data is a template
	fields   []field
	user     []field
	allowAll bool // allow_all_users=yes
	expand   Expand
}

// staticSource reads args: fields, and for a passdb password=X.
func (b *builder) staticSource(args string, forPassdb bool) (source, error) {
	fields, err := b.fields(args)
	if err != nil {
		return nil, fmt.Errorf("static: %w", err)
	}
	s := &staticSource{expand: b.expand}
	for _, f := range fields {
		switch {
		case forPassdb && f.name == "password":
			s.password = parseStored(f.template, "PLAIN")
		case forPassdb:
			s.fields = append(s.fields, f)
		case f.name == "allow_all_users":
			s.allowAll = Fields{f.name: f.template}.Flag(f.name)
		default:
			s.user = append(s.user, f)
		}
	}
	if forPassdb && s.password.scheme != "" {
		if _, _, err := b.schemes.find(s.password.scheme); err != nil {
			return nil, fmt.Errorf("static: unknown scheme %q", s.password.scheme)
		}
	}
	return s, nil
}

func (s *staticSource) listsNames() bool { return false }

func (s *staticSource) find(_ context.Context, _ string, values Value) (entry, error) {
	password := s.password
	var err error
	if password.data, err = s.expand(password.data, values); err != nil {
		return entry{}, err
	}
	if password.scheme == "" {
		password.scheme = "PLAIN"
	}
	return entry{password: password, fields: s.fields, user: s.user}, nil
}
