// Package trust is how the backends of a cluster let each other in: the one that
// serves a user signs that this user wants to open another's mail, and the one that
// has this mail believes it as far as the cluster's map says the same.
//
// Keys are a process's own: made at its start, never on disk, and known to the others
// by the record that has its lease (cluster.Alive). What a node may ask is decided by the
// Verifier where the mail is: only for a user whom it holds at this moment. So whoever
// has taken over a backend gets at nothing but what is shared with the users that it
// holds. What the users may do with the mail is not decided here, but by the ACLs.
//
// Directors sign nothing. They hand on what a backend has signed, after the same
// checks, so that they connect nobody else to a backend.
package trust

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/sasl"
)

const (
	keyLife    = 24 * time.Hour
	keyOverlap = time.Hour // before the end of a key there is another one
)

// Keys are those of this process. They may be used by any number of goroutines.
type Keys struct {
	mu   sync.Mutex // guards what follows
	keys []ownKey   // one, or two while the second takes over
}

type ownKey struct {
	private ed25519.PrivateKey
	public  cluster.NodeKey
}

// Published are the public keys, as the record has to tell of them from now on. An old
// one is left out when its time is over.
func (k *Keys) Published() cluster.NodeKeys {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if len(k.keys) > 0 && now.Unix() > k.keys[0].public.Until+int64(Skew/time.Second) {
		k.keys = k.keys[1:]
	}
	if len(k.keys) == 0 || len(k.keys) == 1 && now.Add(keyOverlap).Unix() >= k.keys[0].public.Until {
		k.keys = append(k.keys, newKey(now))
	}
	var published cluster.NodeKeys
	for i, key := range k.keys {
		published[i] = key.public
	}
	return published
}

func newKey(now time.Time) ownKey {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic("random numbers: " + err.Error()) // crypto/rand does not fail
	}
	return ownKey{private, cluster.NodeKey{Public: base64.StdEncoding.EncodeToString(public), Until: now.Add(keyLife).Unix()}}
}

// sign signs by the latest key that others can know, which are told of in known.
func (k *Keys) sign(d *sasl.Delegation, known cluster.NodeKeys) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := len(k.keys) - 1; i >= 0; i-- {
		key := k.keys[i]
		if known[0] != key.public && known[1] != key.public {
			continue
		}
		d.Key = keyID(key.private.Public().(ed25519.PublicKey))
		d.Sign(key.private)
		return nil
	}
	return fmt.Errorf("the cluster does not know a key of this process yet")
}

// keyID is the name of a key: it says which one, not that it is good.
func keyID(public ed25519.PublicKey) (id [sasl.DelegationKeyID]byte) {
	sum := sha256.Sum256(public)
	copy(id[:], sum[:])
	return id
}

// find is a node's key with an id; nil if it has none whose time is not over.
func find(keys cluster.NodeKeys, id [sasl.DelegationKeyID]byte, now time.Time) ed25519.PublicKey {
	for _, key := range keys {
		public, err := base64.StdEncoding.DecodeString(key.Public)
		if err == nil && len(public) == ed25519.PublicKeySize && keyID(public) == id && now.Add(-Skew).Unix() <= key.Until {
			return public
		}
	}
	return nil
}
