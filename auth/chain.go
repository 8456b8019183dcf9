package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/roost-mail/roost/sasl"
)

// found is what one passdb says of one attempt: err is nil, errUnknown,
// errMismatch, errNets, or why there is no answer.
type found struct {
	fields Fields // without userdb_ fields
	user   Fields // those
	err    error
}

// outcome sorts err.
func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return outcomeOK
	case errors.Is(err, errUnknown), errors.Is(err, errMismatch), errors.Is(err, errNets):
		return outcomeFailure
	}
	return outcomeInternal
}

// try asks one passdb for name, and checks the password unless that is done or
// this is a lookup.
func (db *passdb) try(ctx context.Context, a *Authenticator, s *attempt, name string) found {
	check := !s.lookup && !s.verified && !db.deny
	if err := ctx.Err(); err != nil {
		return found{err: err}
	}
	e, err := db.source.find(ctx, name, s.value)
	if errors.Is(err, errUnknown) && check {
		_, _ = a.hasher.verify(ctx, e.password, guess{name, s.req.Password}) // an unknown user takes as long
	}
	if err != nil {
		return found{err: err}
	}
	all := Fields{}
	for _, list := range [][]field{db.defaults, e.fields} {
		if err := expandFields(all, list, a.expand, s.value); err != nil {
			return found{err: err}
		}
	}
	if check {
		if err := a.checkPassword(ctx, e, all, guess{name, s.req.Password}, s.req.Proof); err != nil {
			return found{err: err}
		}
	}
	if err := expandFields(all, db.override, a.expand, s.value); err != nil {
		return found{err: err}
	}
	if err := a.checkNets(db, s, all); err != nil {
		return found{err: err}
	}
	maps.DeleteFunc(all, func(name, _ string) bool {
		return name == "nopassword" || name == "password" || name == "allow_nets" || name == "allow_real_nets"
	})
	return found{user: splitUser(all), fields: all}
}

// checkNets asks allow_nets about the client that began the chain of proxies, and
// allow_real_nets about the one that is connected. Neither concerns lookups.
func (a *Authenticator) checkNets(db *passdb, s *attempt, fields Fields) error {
	for _, row := range [...]struct {
		field string
		addr  netip.Addr
	}{{"allow_nets", s.req.RemoteAddr}, {"allow_real_nets", s.req.PeerAddr}} {
		list, ok := fields[row.field]
		if !ok || s.lookup {
			continue
		}
		allowed, err := allowedNet(list, row.addr)
		if err != nil {
			a.log.Warn("address ignored", "db", db.label, "user", s.User, "field", row.field, "reason", err)
		}
		if !allowed {
			return fmt.Errorf("%w: %q is not in %s", errNets, addrText(row.addr), row.field)
		}
	}
	return nil
}

// checkPassword compares. Any password will do only if the field nopassword is
// set and nothing is stored; nothing stored alone accepts nothing.
func (a *Authenticator) checkPassword(ctx context.Context, e entry, fields Fields, g guess, proof *sasl.Proof) error {
	var ok bool
	var err error
	switch {
	case proof != nil:
		ok, err = a.hasher.proved(ctx, e.password, g.user, proof)
	case e.password.data == "" && fields.Flag("nopassword"):
		return nil
	default:
		ok, err = a.hasher.verify(ctx, e.password, g)
	}
	if err == nil && !ok {
		err = errMismatch
	}
	return err
}

// accept takes over what a passdb said. The field user gives the user another name.
func (s *attempt) accept(a *Authenticator, f found, master bool) error {
	if name, ok := f.fields["user"]; ok {
		name, err := a.names.Normalize(name)
		if err != nil {
			return fmt.Errorf("field user: %w", err)
		}
		switch {
		case master:
			s.Acting = name
		case s.Master():
			s.User = name
		default:
			s.User, s.Acting = name, name
		}
		delete(f.fields, "user")
	}
	s.fields = overlay(s.fields, f.fields)
	if master {
		s.masterUser = overlay(s.masterUser, f.user)
	} else {
		s.user = overlay(s.user, f.user)
	}
	return nil
}

// denies is errDenied if a deny passdb has name, nil if it has not.
func (db *passdb) denies(ctx context.Context, a *Authenticator, s *attempt, name string) error {
	err := db.try(ctx, a, s, name).err
	switch {
	case errors.Is(err, errUnknown):
		return nil
	case err == nil:
		err = errDenied
	}
	return fmt.Errorf("%s: %w", db.label, err)
}

// askMasters checks the acting user's password in the master passdbs, and returns
// what the one that accepted wants to follow.
func (a *Authenticator) askMasters(ctx context.Context, s *attempt) (next action, err error) {
	var last, internal error
	for _, db := range a.masters {
		if db.deny {
			if err := db.denies(ctx, a, s, s.Acting); err != nil {
				return actionReturnFail, err
			}
			continue
		}
		f := db.try(ctx, a, s, s.Acting)
		out := outcomeOf(f.err)
		switch out {
		case outcomeOK:
			s.actingKnown = db.source.listsNames()
			s.verified = db.rules[out] != actionContinueFail
			return db.rules[out], s.accept(a, f, true)
		case outcomeInternal:
			internal = fmt.Errorf("%s: %w", db.label, f.err)
		default:
			last = after(last, fmt.Errorf("%s: %w", db.label, f.err))
		}
		if !db.rules[out].continues() {
			break
		}
	}
	if internal == nil && last == nil {
		last = errNoMaster
	}
	return actionReturnFail, a.chainError(s, false, internal, last)
}

// askPassdbs asks the normal passdbs about the owner until one decides. ok is the
// state to begin with.
func (a *Authenticator) askPassdbs(ctx context.Context, s *attempt, ok bool) error {
	var last, internal error
	for _, db := range a.passdbs {
		if db.skips(s) {
			continue
		}
		if db.deny {
			if err := db.denies(ctx, a, s, s.User); err != nil {
				return err
			}
			continue
		}
		f := db.try(ctx, a, s, s.User)
		out := outcomeOf(f.err)
		next := db.rules[out]
		switch out {
		case outcomeOK:
			if err := s.accept(a, f, false); err != nil {
				return err
			}
			s.verified = s.verified || next == actionContinue || next == actionContinueOK
		case outcomeInternal:
			internal = fmt.Errorf("%s: %w", db.label, f.err)
		default:
			last = after(last, fmt.Errorf("%s: %w", db.label, f.err))
		}
		if ok = next.state(ok); !next.continues() {
			break
		}
	}
	return a.chainError(s, ok, internal, last)
}

// after is err with what databases before it said. What err is decides.
func after(before, err error) error {
	if before == nil {
		return err
	}
	return fmt.Errorf("%v; %w", before, err)
}

// skips is the setting skip. A lookup is not interested in who is denied.
func (db *passdb) skips(s *attempt) bool {
	switch {
	case db.deny && s.lookup:
		return true
	case db.skip == "authenticated":
		return s.verified
	case db.skip == "unauthenticated":
		return !s.verified
	}
	return false
}

// chainError is how a chain of databases ended. One without an answer might have
// had the right one, so it decides unless another succeeded; then it is logged.
func (a *Authenticator) chainError(s *attempt, ok bool, internal, last error) error {
	switch {
	case ok && internal != nil:
		a.log.Warn("a user database gave no answer", "user", s.User, "reason", internal)
		return nil
	case ok:
		return nil
	case internal != nil:
		return internal
	case last != nil:
		return last
	}
	return errState
}

// askUserdbs is the userdb fields of s.User, or errUnknown. known is asked only
// for databases that answer for every name.
func (a *Authenticator) askUserdbs(ctx context.Context, s *attempt, known func() (bool, error)) (Fields, error) {
	user := merge(s.user)
	ok, internal := false, error(nil)
	for i, db := range a.userdbs {
		if (db.skip == "found" && ok) || (db.skip == "notfound" && !ok) {
			continue
		}
		fields, err := db.find(ctx, a, s, known, i == len(a.userdbs)-1)
		out := outcomeOf(err)
		switch out {
		case outcomeOK:
			maps.Copy(user, fields)
		case outcomeInternal:
			internal = fmt.Errorf("%s: %w", db.label, err)
		}
		action := db.rules[out]
		if ok = action.state(ok); !action.continues() {
			break
		}
	}
	return user, a.chainError(s, ok, internal, fmt.Errorf("userdb: %w", errUnknown))
}

// find asks one userdb.
func (db *userdb) find(ctx context.Context, a *Authenticator, s *attempt, known func() (bool, error), last bool) (Fields, error) {
	var e entry
	var err error
	if db.source == nil {
		err = prefetched(s, last)
	} else if err = db.believes(known); err == nil {
		e, err = db.source.find(ctx, s.User, s.value)
	}
	if err != nil {
		return nil, err
	}
	fields := Fields{}
	for _, list := range [][]field{db.defaults, e.user, db.override} {
		if err := expandFields(fields, list, a.expand, s.value); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// believes is errUnknown where an answer for every name would invent a user.
func (db *userdb) believes(known func() (bool, error)) error {
	if static, ok := db.source.(*staticSource); !ok || static.allowAll {
		return nil
	}
	exists, err := known()
	if err == nil && !exists {
		err = errUnknown
	}
	return err
}

// prefetched says whether the passdbs' userdb_ fields are enough of a user: with
// where the mail is, or if there is no other userdb to say that.
func prefetched(s *attempt, last bool) error {
	all := merge(s.user, s.masterUser)
	for _, name := range []string{"home", "mail", "uid", "gid"} {
		if _, ok := all[name]; ok {
			return nil
		}
	}
	if last && len(all) > 0 {
		return nil
	}
	return errUnknown
}

func addrText(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.Unmap().String()
}
