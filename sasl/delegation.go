package sasl

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"time"

	gosasl "github.com/emersion/go-sasl"
)

// DelegationName is the mechanism by which one Roost node opens mail at another.
const DelegationName = "X-ROOST-DELEGATION"

// Delegation is the word of a node that a user who is logged in there wants to open
// another's mail. It is good once, for a short time, at one place.
//
// On the wire it is, with numbers in network order: the byte 1; the key's id; the
// nonce; Issued and Expires as milliseconds of Unix, and Revision, 8 bytes each; Owner, Acting, Asker and
// Audience, each behind its length in 2 bytes; and the signature, which is that of
// all before it, behind signedPrefix. There is one encoding of each Delegation.
type Delegation struct {
	Owner    string // whose mail it is
	Acting   string // whose rights apply
	Asker    string // the node that asks
	Audience string // who alone may accept it; empty: nobody, and the answer tells who

	Key      [DelegationKeyID]byte // of the asker's, which one signed
	Nonce    [16]byte              // no other has the same
	Issued   time.Time             // by the asker's clock, as Expires
	Expires  time.Time
	Revision int64 // of the cluster's map, by which the asker has user and key

	Signature [ed25519.SignatureSize]byte
}

const (
	// DelegationKeyID is the length of a key's id in bytes.
	DelegationKeyID = 8

	delegationVersion = 1
	delegationFixed   = 1 + DelegationKeyID + 16 + 3*8 // before the names
	maxMillis         = 1 << 53

	// signedPrefix keeps the signature from being one of anything else.
	signedPrefix = "roost delegation\x00"
)

// Sign signs it by a key, whose id Key is.
func (d *Delegation) Sign(key ed25519.PrivateKey) {
	copy(d.Signature[:], ed25519.Sign(key, d.signed()))
}

// SignedBy says whether the signature is that of a key.
func (d *Delegation) SignedBy(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, d.signed(), d.Signature[:])
}

func (d *Delegation) signed() []byte { return append([]byte(signedPrefix), d.unsigned()...) }

func (d *Delegation) unsigned() []byte {
	b := append([]byte{delegationVersion}, d.Key[:]...)
	b = append(b, d.Nonce[:]...)
	for _, n := range []int64{d.Issued.UnixMilli(), d.Expires.UnixMilli(), d.Revision} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	for _, s := range []string{d.Owner, d.Acting, d.Asker, d.Audience} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	return b
}

// Encode is the response of the mechanism. Names are at most MaxName bytes long.
func (d *Delegation) Encode() []byte { return append(d.unsigned(), d.Signature[:]...) }

// ParseDelegation reads what Encode gives, and nothing else. Nobody has looked at the
// signature then.
func ParseDelegation(response []byte) (*Delegation, error) {
	if len(response) < delegationFixed+ed25519.SignatureSize || len(response) > MaxResponse || response[0] != delegationVersion {
		return nil, malformed("no delegation")
	}
	d := &Delegation{}
	rest := response[1:]
	rest = rest[copy(d.Key[:], rest):]
	rest = rest[copy(d.Nonce[:], rest):]
	var numbers [3]int64
	for i := range numbers {
		n := binary.BigEndian.Uint64(rest)
		if n >= maxMillis {
			return nil, malformed("delegation: number")
		}
		numbers[i], rest = int64(n), rest[8:]
	}
	d.Issued, d.Expires, d.Revision = time.UnixMilli(numbers[0]), time.UnixMilli(numbers[1]), numbers[2]
	for _, s := range []*string{&d.Owner, &d.Acting, &d.Asker, &d.Audience} {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, malformed("delegation: name")
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		*s, rest = string(rest[2:n]), rest[n:]
	}
	if copy(d.Signature[:], rest) != len(rest) || len(rest) != len(d.Signature) || !bytes.Equal(d.Encode(), response) {
		return nil, malformed("delegation: length")
	}
	return d, d.check()
}

func (d *Delegation) check() error {
	switch {
	case d.Owner == "" || !validName(d.Owner):
		return malformed("delegation: owner")
	case d.Acting == "" || !validName(d.Acting):
		return malformed("delegation: acting user")
	case d.Asker == "" || !validName(d.Asker):
		return malformed("delegation: asking node")
	case !validName(d.Audience):
		return malformed("delegation: audience")
	}
	return nil
}

// DelegationMechanism is the row of the table that only nodes of a cluster offer.
// Whoever reads a Delegation on its way could be faster than it is: so it is treated as
// a password is.
func DelegationMechanism() Mechanism {
	return Mechanism{Name: DelegationName, Plaintext: true, ForAnother: true, NewServer: func(x Exchange) gosasl.Server { return &delegationServer{verify: x.Verify} }}
}

// delegationServer is the server side: one response, which has to be signed.
type delegationServer struct {
	verify Verify
	done   bool
}

// Next answers a missing initial response (nil) with an empty challenge.
func (s *delegationServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if s.done {
		return nil, false, gosasl.ErrUnexpectedClientResponse
	}
	if response == nil {
		return []byte{}, false, nil
	}
	s.done = true
	d, err := ParseDelegation(response)
	if err != nil {
		return nil, false, err
	}
	return nil, true, s.verify(Credentials{AuthzID: d.Owner, AuthID: d.Acting, Delegation: d})
}
