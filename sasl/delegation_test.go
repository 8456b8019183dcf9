package sasl

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"
)

func signedDelegation(t testing.TB) (*Delegation, ed25519.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &Delegation{
		Owner: "alice", Acting: "bob", Asker: "be1", Audience: "be2/ABC",
		Key: [8]byte{1}, Nonce: [16]byte{2}, Issued: time.UnixMilli(1000), Expires: time.UnixMilli(31000), Revision: 7,
	}
	d.Sign(private)
	return d, public
}

// TestDelegationBytes: every bit of a Delegation is signed, and none can be added.
func TestDelegationBytes(t *testing.T) {
	d, key := signedDelegation(t)
	wire := d.Encode()
	back, err := ParseDelegation(wire)
	if err != nil || *back != *d || !back.SignedBy(key) {
		t.Fatalf("%+v, %v", back, err)
	}
	for i := range wire {
		for bit := range 8 {
			altered := bytes.Clone(wire)
			altered[i] ^= 1 << bit
			if d, err := ParseDelegation(altered); err == nil && d.SignedBy(key) {
				t.Errorf("byte %d, bit %d can be altered", i, bit)
			}
		}
	}
	for _, response := range [][]byte{{}, wire[:len(wire)-1], append(bytes.Clone(wire), 0)} {
		if _, err := ParseDelegation(response); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d of %d bytes: %v", len(response), len(wire), err)
		}
	}
}

func TestDelegationServer(t *testing.T) {
	d, _ := signedDelegation(t)
	var got Credentials
	s := DelegationMechanism().NewServer(Exchange{Verify: func(c Credentials) error { got = c; return nil }})
	if challenge, done, err := s.Next(nil); len(challenge) != 0 || done || err != nil {
		t.Fatal(challenge, done, err)
	}
	if _, done, err := s.Next(d.Encode()); !done || err != nil || got.AuthzID != "alice" || got.AuthID != "bob" || *got.Delegation != *d {
		t.Errorf("%+v, %v", got, err)
	}
	if _, _, err := s.Next(d.Encode()); err == nil {
		t.Error("a second response is accepted")
	}
}

func TestDelegationNames(t *testing.T) {
	for _, spoil := range []func(*Delegation){
		func(d *Delegation) { d.Owner = "" },
		func(d *Delegation) { d.Acting = "" },
		func(d *Delegation) { d.Asker = "" },
		func(d *Delegation) { d.Owner = "a\x00b" },
		func(d *Delegation) { d.Acting = "\xff" },
		func(d *Delegation) { d.Audience = "a\r\nb" },
		func(d *Delegation) { d.Owner = string(bytes.Repeat([]byte("a"), MaxName+1)) },
		func(d *Delegation) { d.Asker = string(bytes.Repeat([]byte("a"), MaxName+1)) },
		func(d *Delegation) { d.Revision = -1 },
	} {
		d, _ := signedDelegation(t)
		spoil(d)
		if _, err := ParseDelegation(d.Encode()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

func FuzzDelegation(f *testing.F) {
	d, _ := signedDelegation(f)
	f.Add(d.Encode())
	f.Add([]byte{delegationVersion})
	f.Fuzz(func(t *testing.T, response []byte) {
		d, err := ParseDelegation(response)
		if err == nil && !bytes.Equal(d.Encode(), response) {
			t.Errorf("%q is read as %+v", response, d)
		}
	})
}
