package auth

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/roost-mail/roost/sasl"
)

// Keys are those of the authentication identity of req for req.Mechanism, made
// of a plaintext password or stored as they are. For everybody else (users who
// do not exist, or whose password is kept in another scheme) they are invented,
// the same ones as long as Config.Secret is, and take as long to make. The error
// is UNAVAILABLE: nothing is known now.
func (a *Authenticator) Keys(ctx context.Context, req Request) (sasl.Keys, error) {
	login, err := a.names.Login(req.AuthzID, req.AuthID)
	if err != nil {
		return a.hasher.inventKeys(ctx, req.Mechanism, req.AuthID, stored{}) // Authenticate will refuse
	}
	s := a.newAttempt(login, req)
	dbs, name := a.passdbs, s.User
	if s.Master() {
		dbs, name = a.masters, s.Acting
	}
	keys, err := a.findKeys(ctx, s, dbs, name)
	if err != nil {
		return keys, wrap(err, login)
	}
	return keys, nil
}

// findKeys asks the passdbs in their order for keys of name.
func (a *Authenticator) findKeys(ctx context.Context, s *attempt, dbs []*passdb, name string) (sasl.Keys, error) {
	var like stored
	for _, db := range dbs {
		if db.deny || db.skips(s) {
			continue
		}
		e, err := db.source.find(ctx, name, s.value)
		switch {
		case errors.Is(err, errUnknown):
			like = e.password
			continue
		case err != nil:
			return sasl.Keys{}, fmt.Errorf("%s: %w", db.label, err)
		}
		keys, err := a.hasher.keysOf(ctx, s.req.Mechanism, name, e.password)
		if !errors.Is(err, errNoKeys) {
			return keys, err
		}
		like = e.password
	}
	return a.hasher.inventKeys(ctx, s.req.Mechanism, name, like)
}

// proved says whether the proof of an exchange is about the keys of a stored password.
func (h *hasher) proved(ctx context.Context, s stored, user string, proof *sasl.Proof) (bool, error) {
	if !proof.OK {
		return false, nil
	}
	keys, err := h.keysOf(ctx, proof.Mechanism, user, s)
	if errors.Is(err, errNoKeys) {
		return false, nil
	}
	return err == nil && proof.Proves(keys), err
}

// errNoKeys is the cause where a stored password has no keys for a mechanism.
var errNoKeys = errors.New("no keys for this mechanism")

// keysOf is the keys in or of a stored password, or errNoKeys.
func (h *hasher) keysOf(ctx context.Context, mechanism, user string, s stored) (sasl.Keys, error) {
	row, suffix, err := h.schemes.find(s.scheme)
	if err != nil {
		return sasl.Keys{}, err
	}
	data, err := row.decode(suffix, s.data)
	switch {
	case err != nil:
		return sasl.Keys{}, err
	case data == "":
		return sasl.Keys{}, errNoKeys
	case row.name == scramBase(mechanism):
		return parseKeys(mechanism, data)
	case row.plain:
		return h.derive(ctx, mechanism, user, sasl.Prepare(data))
	}
	return sasl.Keys{}, errNoKeys
}

// inventKeys is keys that no password has, of the kind that like has.
func (h *hasher) inventKeys(ctx context.Context, mechanism, user string, like stored) (sasl.Keys, error) {
	secret := h.sum("invented", mechanism, user)
	row, suffix, err := h.schemes.find(like.scheme)
	if err != nil || row.name != scramBase(mechanism) {
		return h.derive(ctx, mechanism, user, hex.EncodeToString(secret[:]))
	}
	data, err := row.decode(suffix, like.data)
	if err != nil {
		return sasl.Keys{}, err
	}
	model, err := parseKeys(mechanism, data)
	if err != nil {
		return sasl.Keys{}, err
	}
	model.Salt = h.salt(mechanism, user)
	for _, key := range []*[]byte{&model.StoredKey, &model.ServerKey} {
		*key = append([]byte(nil), secret[:min(len(secret), len(*key))]...)
		secret = h.sum(string(secret[:]))
	}
	return model, nil
}

// scramBase is the scheme of a mechanism's keys.
func scramBase(mechanism string) string {
	return strings.TrimSuffix(upperASCII(mechanism), "-PLUS")
}

func (h *hasher) salt(mechanism, user string) string {
	sum := h.sum("salt", scramBase(mechanism), user)
	return string(sum[:16])
}

// derive makes the keys of a password, which takes long; the last ones are kept.
func (h *hasher) derive(ctx context.Context, mechanism, user, password string) (sasl.Keys, error) {
	at := h.sum("keys", scramBase(mechanism), user, password)
	if keys, ok := h.derived.get(at); ok {
		return keys, nil
	}
	leave, err := h.enter(ctx, 0)
	if err != nil {
		return sasl.Keys{}, err
	}
	defer leave()
	keys, err := sasl.DeriveKeys(mechanism, password, h.salt(mechanism, user), sasl.DefaultIterations)
	if err == nil {
		h.derived.put(at, keys)
	}
	return keys, err
}

// derivedKeys is the keys that were derived last, by a keyed hash of what they
// were derived from. Safe for concurrent use.
type derivedKeys struct {
	mu   sync.Mutex
	keys *lru[[32]byte, sasl.Keys]
}

// maxDerived bounds the keys that are kept: about 1 MB.
const maxDerived = 4096

func newDerivedKeys() *derivedKeys {
	return &derivedKeys{keys: newLRU[[32]byte, sasl.Keys](maxDerived)}
}

func (d *derivedKeys) get(at [32]byte) (sasl.Keys, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if keys := d.keys.get(at); keys != nil {
		return *keys, true
	}
	return sasl.Keys{}, false
}

func (d *derivedKeys) put(at [32]byte, keys sasl.Keys) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys.put(at, keys)
}
