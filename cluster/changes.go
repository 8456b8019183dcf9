package cluster

import (
	"encoding/json"
	"fmt"
)

// What an administrator changes. Each is a Txn that fails if the record has changed
// since the revision at which it was read.

// SetWish makes w what is wished of a backend.
func SetWish(backend string, w Wish, at Revision) (Txn, error) {
	return set(keyWishes+backend, w, at)
}

// SetPin places a user, whose name is normalised.
func SetPin(user string, p Pin, at Revision) (Txn, error) {
	return set(keyPins+user, p, at)
}

// EndPin sends a user back to where users are without a pin.
func EndPin(user string, at Revision) Txn {
	key := keyPins + user
	return Txn{If: []Condition{{key, at}}, Then: []Op{{Key: key, Delete: true}}}
}

// Register says what a backend is that can't say so itself, and what is wished of it.
func Register(n Node, r Registration, w Wish) (Txn, error) {
	if err := r.check(); err != nil {
		return Txn{}, err
	}
	t, err := set(keyBackends+n.Name, r, n.RegisteredAt)
	if err != nil {
		return t, err
	}
	more, err := SetWish(n.Name, w, n.WishAt)
	return Txn{If: append(t.If, more.If...), Then: append(t.Then, more.Then...)}, err
}

// Forget removes a backend that is not alive, as it was when it was read. A foreign one,
// for which a Keeper is alive, must have no units and be wished none.
func Forget(n Node) Txn {
	t := Txn{If: []Condition{{keyBackends + n.Name, n.RegisteredAt}, {keyWishes + n.Name, n.WishAt}}}
	if !n.Registration.Foreign {
		t.If = append(t.If, Condition{keyAlive + n.Name, 0})
	}
	if n.RegisteredAt != 0 {
		t.Then = append(t.Then, Op{Key: keyBackends + n.Name, Delete: true})
	}
	if n.WishAt != 0 {
		t.Then = append(t.Then, Op{Key: keyWishes + n.Name, Delete: true})
	}
	return t
}

func set(key string, record any, at Revision) (Txn, error) {
	value, err := json.Marshal(record)
	if err == nil && len(value) > maxRecord {
		err = fmt.Errorf("%d bytes", len(value))
	}
	if err != nil {
		return Txn{}, fmt.Errorf("record of %s: %w", key, err)
	}
	return Txn{If: []Condition{{key, at}}, Then: []Op{{Key: key, Value: value}}}, nil
}
