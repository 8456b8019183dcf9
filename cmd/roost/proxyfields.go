package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/director"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
)

// otherProxyFields are fields that begin with proxy_ and do nothing here: they are
// for other protocols, for another part of Roost, or for what it does not need.
var otherProxyFields = []string{"proxy_maybe", "proxy_always", "proxy_noauth", "proxy_refresh"}

// setRoute has one field of a passdb take effect. handled is false for a field
// that says nothing of a route.
func setRoute(r *director.Route, name, value string) (handled bool, err error) {
	switch name {
	case "host":
		r.Host = value
	case "hostip":
		r.HostIP, err = netip.ParseAddr(value)
	case "port":
		var n uint64
		n, err = strconv.ParseUint(value, 10, 16)
		r.Port = uint16(n)
	case "director_tag":
		r.Tag = value
	case "source_ip":
		r.Source, err = netip.ParseAddr(value)
	case "proxy_timeout":
		r.Timeout, err = seconds(value)
	case "delay_until":
		r.NotBefore, err = delayUntil(value, time.Now())
	case "proxy_not_trusted":
		r.Silent = auth.Fields{name: value}.Flag(name)
	case "proxy_nopipelining":
		r.OneByOne = auth.Fields{name: value}.Flag(name)
	case "proxy_mech":
		if r.PlainOnly = strings.EqualFold(value, "PLAIN"); !r.PlainOnly {
			err = errors.New("the director logs in by PLAIN only")
		}
	default:
		key, forward := strings.CutPrefix(name, "forward_")
		if !forward || key == "" {
			return slices.Contains(otherProxyFields, name), nil
		}
		if r.Forward == nil {
			r.Forward = map[string]string{}
		}
		r.Forward[key] = value
	}
	return true, err
}

const maxProxyTimeout = 10 * time.Minute

func seconds(text string) (time.Duration, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	d := time.Duration(n) * time.Second
	if err == nil && (d == 0 || d > maxProxyTimeout) {
		err = fmt.Errorf("from 1 to %d seconds", maxProxyTimeout/time.Second)
	}
	return d, err
}

// maxDelay is how far away delay_until may be.
const maxDelay = 5 * time.Minute

// delayUntil reads a time of Unix, to which a random part of the seconds behind a "+"
// is added: a user who moves to another cluster waits for the old one to end.
func delayUntil(text string, now time.Time) (time.Time, error) {
	first, most, spread := strings.Cut(text, "+")
	unix, err := strconv.ParseInt(first, 10, 40)
	if err != nil {
		return time.Time{}, err
	}
	var more uint64
	if spread {
		if more, err = strconv.ParseUint(most, 10, 16); err != nil {
			return time.Time{}, err
		}
	}
	until := time.Unix(unix, 0)
	random := time.Duration(more) * time.Second
	if until.Sub(now) > maxDelay-random { // a sum could overflow
		return time.Time{}, fmt.Errorf("more than %v away", maxDelay)
	}
	return until.Add(rand.N(random + 1)), nil
}

// route is where the fields of a passdb send a login, and as whom.
func (n *node) route(cred imapserver.Credentials, res *auth.Result) (director.Route, error) {
	r := director.Route{User: res.User, AuthID: res.Acting, Password: cred.Password, Delegation: cred.Delegation}
	for name, value := range res.Fields {
		handled, err := setRoute(&r, name, value)
		if err != nil {
			return r, fmt.Errorf("%s=%s: %w", name, value, err)
		}
		if !handled && strings.HasPrefix(name, "proxy_") {
			n.oncePerUser("passdb field "+name, func() { n.log.Warn("unknown field of a passdb is ignored", "field", name, "user", res.User) })
		}
	}
	if r.Host == "" && r.HostIP.IsValid() {
		r.Host = r.HostIP.String()
	}
	var err error
	if r.Security, r.AnyCert, err = routeSecurity(res.Fields); err != nil {
		return r, err
	}
	r.AnyCert = r.AnyCert || !n.set.TLS.VerifyServers
	err = routeIdentity(&r, cred, res)
	return r, err
}

// routeIdentity is the fields destuser, pass and master: who logs in there.
//
// Another node's word is handed on as it is, whatever they say.
func routeIdentity(r *director.Route, cred imapserver.Credentials, res *auth.Result) error {
	if cred.Delegation != nil {
		return nil
	}
	if dest := res.Fields["destuser"]; dest != "" {
		r.User = dest
		if !res.Master() {
			r.AuthID = dest
		}
	}
	pass, ok := res.Fields["pass"]
	switch {
	case ok:
		r.Password = pass
	case cred.Proof != nil:
		return fmt.Errorf("the user logged in by %s, so there is no password for the backend: the passdb must give the field pass", cred.Mechanism)
	}
	if master := res.Fields["master"]; master != "" {
		r.AuthID = master
	}
	return nil
}

// routeSecurity reads the fields ssl and starttls: yes, any-cert or no. What is
// neither is an error: it must never mean that there is no TLS.
func routeSecurity(fields auth.Fields) (security imapclient.Security, anyCert bool, err error) {
	for _, kind := range []struct {
		field    string
		security imapclient.Security
	}{{"starttls", imapclient.StartTLS}, {"ssl", imapclient.ImplicitTLS}} {
		switch value, set := fields[kind.field]; {
		case !set || value == "no":
		case value == "yes" || value == "" || value == "any-cert":
			security, anyCert = kind.security, value == "any-cert"
		default:
			return 0, false, fmt.Errorf("%s=%s: neither yes nor any-cert", kind.field, value)
		}
	}
	return security, anyCert, nil
}
