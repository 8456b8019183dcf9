package dict

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of what a dictionary takes, in bytes and numbers.
const (
	MaxKey        = 4096               // bytes of a key or prefix
	MaxValue      = 1 << 20            // bytes of a value
	MaxChanges    = 16384              // changes of one Commit
	MaxConditions = 64                 // conditions of one
	MaxCommit     = MaxValue + 256<<10 // bytes of all of them together, and changeCost for each
	MaxListing    = 256 << 20          // bytes of the entries below a prefix that are read at once
)

// changeCost is what a change is reckoned to need beside its key and value.
const changeCost = 32

// Root is the path that all keys are below.
const Root = "shared/"

// CheckKey tells whether key may be used: it is below Root, is UTF-8 without
// NUL, and has at most MaxKey bytes. The error is an ErrInvalid.
//
// Control characters are allowed for the sake of Dovecot's keys; names put
// into keys should go through Escape, which lets none through.
func CheckKey(key string) error {
	switch {
	case len(key) > MaxKey:
		return fmt.Errorf("%w: key of %d bytes", ErrInvalid, len(key))
	case !strings.HasPrefix(key, Root) || len(key) == len(Root):
		return fmt.Errorf("%w: key %q is not below %s", ErrInvalid, key, Root)
	case !isText(key):
		return fmt.Errorf("%w: key %q is not text", ErrInvalid, key)
	}
	return nil
}

// CheckPrefix tells whether prefix may be iterated: it is Root or a path below
// it that ends in "/", and otherwise follows the rules for keys.
func CheckPrefix(prefix string) error {
	if prefix == Root {
		return nil
	}
	if !strings.HasSuffix(prefix, "/") {
		return fmt.Errorf("%w: prefix does not end in a slash", ErrInvalid)
	}
	return CheckKey(prefix)
}

// CheckValue tells whether value may be set: it is UTF-8 without NUL, the least
// that SQL columns agree on, and has at most MaxValue bytes.
func CheckValue(value string) error {
	if len(value) > MaxValue {
		return fmt.Errorf("%w: value of %d bytes", ErrInvalid, len(value))
	}
	if !isText(value) {
		return fmt.Errorf("%w: value is not text", ErrInvalid)
	}
	return nil
}

func isText(s string) bool {
	return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s)
}

// CheckCommit tells whether the arguments of a Commit follow the rules. Every
// home of a Dict calls it first.
func CheckCommit(changes []Change, conditions []Condition) error {
	if len(changes) > MaxChanges || len(conditions) > MaxConditions {
		return fmt.Errorf("%w: more than %d changes or %d conditions", ErrInvalid, MaxChanges, MaxConditions)
	}
	size := 0
	for _, c := range changes {
		if size += c.cost(); size > MaxCommit {
			return fmt.Errorf("%w: changes of more than %d bytes together", ErrInvalid, MaxCommit)
		}
		if err := checkPair(c.Key, c.Value, c.Unset); err != nil {
			return err
		}
	}
	for _, c := range conditions {
		if err := checkPair(c.Key, c.Value, c.Missing); err != nil {
			return err
		}
	}
	return nil
}

func checkPair(key, value string, keyOnly bool) error {
	if err := CheckKey(key); err != nil || keyOnly {
		return err
	}
	return CheckValue(value)
}

func (c Change) cost() int {
	if c.Unset {
		return len(c.Key) + changeCost
	}
	return len(c.Key) + len(c.Value) + changeCost
}
