package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// attempt is one login or lookup on its way through the databases. One goroutine
// owns it.
type attempt struct {
	Login
	req Request

	lookup   bool // no password is checked, and nothing that concerns logins
	verified bool // a passdb has accepted the password; the next ones need not

	fields      Fields // of the passdbs that accepted, without userdb_ fields
	user        Fields // their userdb_ fields, those of normal passdbs
	masterUser  Fields // the userdb_ fields of the master passdb
	actingKnown bool   // a master passdb lists the acting user by name
	actingField Fields // of the acting user's passdb entry, in a master login
}

func (a *Authenticator) newAttempt(login Login, req Request) *attempt {
	return &attempt{Login: login, req: req}
}

// value is the % variables of settings: %u is the owner, also while a master
// passdb is asked.
func (s *attempt) value(name string) (string, bool) {
	if value, ok := nameVariable(s.User, name); ok {
		return value, true
	}
	master := ""
	if s.Master() {
		master = s.Acting
	}
	switch name {
	case "s", "service":
		return s.req.Service, true
	case "r", "rip":
		return addrText(s.req.RemoteAddr), true
	case "real_rip":
		return addrText(s.req.PeerAddr), true
	case "l", "lip":
		return addrText(s.req.LocalAddr), true
	case "m", "mechanism":
		return s.req.Mechanism, true
	case "session":
		return s.req.SessionID, true
	case "c", "secured":
		if s.req.Secured {
			return "secured", true
		}
		return "", true
	case "a", "lport":
		return portText(s.req.LocalPort), true
	case "b", "rport":
		return portText(s.req.RemotePort), true
	case "p", "pid":
		return strconv.Itoa(os.Getpid()), true
	case "w", "password":
		return s.req.Password, true
	case "hostname":
		host, err := os.Hostname()
		return host, err == nil
	case "master_user":
		return master, true
	}
	return s.longValue(name, master)
}

// longValue is the variables whose names begin with the kind of what they are of.
func (s *attempt) longValue(name, master string) (string, bool) {
	if word, ok := strings.CutPrefix(name, "auth_"); ok {
		return nameVariable(s.Acting, wordOf(word))
	}
	for _, prefix := range [...]string{"orig_", "original_"} {
		if word, ok := strings.CutPrefix(name, prefix); ok {
			return nameVariable(s.Original, wordOf(word))
		}
	}
	if word, ok := strings.CutPrefix(name, "login_"); ok {
		if master == "" {
			return "", wordOf(word) != ""
		}
		return nameVariable(s.User, wordOf(word))
	}
	if field, ok := strings.CutPrefix(name, "passdb:"); ok {
		field, otherwise, _ := strings.Cut(field, ":")
		if value, ok := s.fields[field]; ok {
			return value, true
		}
		return otherwise, true
	}
	return "", false
}

func portText(port uint16) string {
	if port == 0 {
		return ""
	}
	return strconv.Itoa(int(port))
}

// wordOf lets %{auth_user} be a variable, but not %{auth_u}.
func wordOf(word string) string {
	switch word {
	case "user", "username", "domain":
		return word
	}
	return ""
}

// login is Authenticate without its delays.
func (a *Authenticator) login(ctx context.Context, login Login, req Request) (*Result, error) {
	if req.NoMaster && login.Master() {
		return nil, errPort
	}
	s := a.newAttempt(login, req)
	if err := a.authenticate(ctx, s); err != nil {
		return nil, err
	}
	if login.Master() && !s.Master() {
		return nil, errAlias
	}
	res, err := a.admit(ctx, s)
	if err == nil && req.Delegated && (res.User != login.User || res.Acting != login.Acting) {
		return nil, errDelegated // for whom nobody has vouched
	}
	return res, err
}

// authenticate is nil if the passdbs accept the attempt.
func (a *Authenticator) authenticate(ctx context.Context, s *attempt) error {
	if !s.Master() {
		return a.askPassdbs(ctx, s, false)
	}
	if s.req.Delegated {
		return a.delegated(ctx, s)
	}
	next, err := a.askMasters(ctx, s)
	switch ok := next.state(false); {
	case err != nil:
		return err
	case next.continues():
		err = a.askPassdbs(ctx, s, ok)
	case !ok:
		err = errState
	}
	if s.verified && refused(err) {
		// RFC 5530 section 3: who asks is proved, but may not act as the owner.
		err = fmt.Errorf("%w: %w", errNotAllowed, err)
	}
	return err
}

// delegated asks for the owner alone, as a master passdb with result_success = continue
// has it done.
func (a *Authenticator) delegated(ctx context.Context, s *attempt) error {
	s.verified = true
	err := a.askPassdbs(ctx, s, false)
	if refused(err) {
		err = fmt.Errorf("%w: %w", errNotAllowed, err)
	}
	return err
}

// admit is what follows when the passdbs have accepted: nologin, the acting
// user's existence and groups, the owner's userdb fields.
func (a *Authenticator) admit(ctx context.Context, s *attempt) (*Result, error) {
	if s.fields.Flag("nologin") {
		return nil, nologin(s)
	}
	if err := a.settleProxy(ctx, s); err != nil {
		return nil, err
	}
	var acting Fields
	if s.Master() {
		var err error
		if acting, err = a.actingUser(ctx, s); err != nil {
			return nil, err
		}
	}
	user, err := a.ownerFields(ctx, s)
	if errors.Is(err, errUnknown) {
		err = fmt.Errorf("%w: %w", errNotAllowed, err)
	}
	if err != nil {
		return nil, err
	}
	_, given := s.masterUser["acl_groups"]
	switch {
	case given:
		acting = s.masterUser
	case !s.Master():
		acting = user
	}
	r := a.result(s, user, groups(acting))
	r.GroupsGiven = given
	return r, nil
}

func nologin(s *attempt) error {
	text := s.fields["reason"]
	if text == "" {
		text = textRefused
	}
	return imap.Wrap(imap.CodeAuthorizationFailed, text, fmt.Errorf("user %q: nologin", s.User))
}

// ownerFields is the userdb fields of the owner. A proxied login needs no userdb:
// the next host has one.
func (a *Authenticator) ownerFields(ctx context.Context, s *attempt) (Fields, error) {
	if s.fields.Flag("proxy") || len(a.userdbs) == 0 {
		return merge(s.owned(s.user), s.masterUser), nil
	}
	known := func() (bool, error) { return true, nil }
	if s.Master() && len(a.passdbs) > 0 {
		known = func() (bool, error) { return a.known(ctx, s) }
	}
	user, err := a.askUserdbs(ctx, s, known)
	return merge(s.owned(user), s.masterUser), err
}

// owned is what an owner's own entry says, less what would lend the owner's
// rights to whoever acts on the owner's mail.
func (s *attempt) owned(user Fields) Fields {
	if !s.Master() {
		return user
	}
	user = merge(user)
	for _, name := range []string{"acl_user", "master_user", "acl_groups"} {
		delete(user, name)
		delete(user, "plugin/"+name)
	}
	return user
}

// known says whether the normal passdbs know the owner of a master login.
func (a *Authenticator) known(ctx context.Context, s *attempt) (bool, error) {
	probe := a.newAttempt(Login{User: s.User, Acting: s.User}, s.req)
	probe.lookup = true
	err := a.askPassdbs(ctx, probe, false)
	if refused(err) {
		return false, nil
	}
	return err == nil, err
}

// actingUser looks up who acts in a master login: the user must exist, must not
// be barred from logging in, and brings the groups. A master whom a master passdb
// lists by name need not be a mail user.
func (a *Authenticator) actingUser(ctx context.Context, s *attempt) (Fields, error) {
	probe := a.newAttempt(Login{User: s.Acting, Acting: s.Acting}, s.req)
	probe.lookup = true
	for _, db := range a.passdbs {
		if !db.deny {
			continue
		}
		if err := db.denies(ctx, a, probe, s.Acting); err != nil {
			return nil, fmt.Errorf("acting user: %w", err)
		}
	}
	user, err := a.resolve(ctx, probe)
	switch {
	case errors.Is(err, errUnknown) && s.actingKnown:
		return Fields{}, nil
	case errors.Is(err, errUnknown):
		return nil, fmt.Errorf("%w: %w", errActing, err)
	case err != nil:
		return nil, err
	case probe.fields.Flag("nologin"):
		return nil, fmt.Errorf("%w: acting user has nologin", errNotAllowed)
	case probe.User == s.User:
		return nil, errAlias
	}
	s.Acting, s.actingField = probe.User, probe.fields
	return user, nil
}

// resolve is the userdb fields of a user without a password, or errUnknown. A
// userdb that lists names decides; one that answers for every name believes the
// passdbs.
func (a *Authenticator) resolve(ctx context.Context, s *attempt) (Fields, error) {
	var known bool
	var err error
	if len(a.passdbs) > 0 {
		err = a.askPassdbs(ctx, s, false)
		if err != nil && !refused(err) {
			return nil, err
		}
		known = err == nil
	}
	if known && s.fields.Flag("proxy") {
		return s.user, nil
	}
	if len(a.userdbs) == 0 {
		if !known {
			return nil, errUnknown
		}
		return s.user, nil
	}
	return a.askUserdbs(ctx, s, func() (bool, error) { return known || len(a.passdbs) == 0, nil })
}

func (a *Authenticator) result(s *attempt, user Fields, groups []string) *Result {
	r := &Result{
		User: s.User, Acting: s.Acting, OriginalUser: s.Original,
		Groups: groups, Fields: s.fields, UserFields: merge(user), ActingFields: s.actingField,
	}
	delete(r.UserFields, "acl_groups")
	if _, ok := r.Fields["master"]; !ok && s.Master() && r.Fields.Flag("proxy") {
		r.Fields["master"] = s.Acting
	}
	return r
}
