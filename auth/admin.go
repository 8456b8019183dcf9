package auth

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// Check is Authenticate as far as the passdbs go, without delays: for an
// administrator who wants to know whether a password is right. UserFields are
// those that passdbs give. Errors are as Authenticate's.
func (a *Authenticator) Check(ctx context.Context, req Request) (*Result, error) {
	login, err := a.names.Login(req.AuthzID, req.AuthID)
	if err != nil {
		return nil, imap.Wrap(imap.CodeAuthenticationFailed, textFailed, err)
	}
	s := a.newAttempt(login, req)
	if err := a.authenticate(ctx, s); err != nil {
		return nil, wrap(err, login)
	}
	return a.result(s, merge(s.user, s.masterUser), nil), nil
}

// ErrNoList is the cause where no userdb can say whom it knows.
var ErrNoList = errors.New("no userdb lists its users")

// List is the users whose names match a pattern with the wildcards * and ?, in
// order, as far as userdbs list them. Names are as Normalize has them; those that
// have no normal form are left out, for they can't log in.
func (a *Authenticator) List(ctx context.Context, pattern string) ([]string, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	var names []string
	known := false
	for _, db := range a.userdbs {
		lister, ok := db.source.(lister)
		if !ok {
			continue
		}
		listed, err := lister.names(ctx)
		if errors.Is(err, ErrNoList) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", db.label, err)
		}
		known = true
		names = append(names, listed...)
	}
	if !known {
		return nil, ErrNoList
	}
	return a.matching(names, pattern), nil
}

func (a *Authenticator) matching(names []string, pattern string) []string {
	var list []string
	for _, name := range names {
		name, err := a.names.Normalize(name)
		if ok, _ := path.Match(pattern, name); ok && err == nil { // a name has no slash
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// lister is a source that can say whom it knows.
type lister interface {
	names(ctx context.Context) ([]string, error)
}

// names are those of the file; of files that differ by user nobody knows the list.
func (s *passwdSource) names(ctx context.Context) ([]string, error) {
	if s.perUser() {
		return nil, ErrNoList
	}
	table, err := s.files.table(ctx, s.path)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range table.lines {
		names = append(names, name)
	}
	return names, nil
}

// perUser says whether the file's path has variables.
func (s *passwdSource) perUser() bool {
	path, err := s.expand(s.path, nameValue("\x00"))
	return err != nil || path != s.path
}
